//go:build linux

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/chaos/world"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/receive/stripe"
	"github.com/kgents/kgents/subscription"
	"github.com/kgents/kgents/town"
)

// trade is business as usual while the fault is there: towns of customers live and are
// metered, and what Stripe says of subscriptions arrives late, doubled and out of order.
type trade struct {
	w    *world.World
	stop chan struct{}
	wg   sync.WaitGroup

	towns []string // ids
	lives []*life
}

// life is what Stripe says of one customer, in the order in which it happened.
type life struct {
	customer string
	events   [][]byte // webhooks' bodies
	end      string   // the plan that it ends in, and
	status   string   // the status
}

// owner has the towns, on a plan that the operator has given him.
const owner = "founder"

// newTrade sets everything up, before there is a fault, and begins.
func newTrade(w *world.World, seed uint64) *trade {
	w.Helper()
	r := rand.New(rand.NewPCG(seed, 0x74726164))
	t := &trade{w: w, stop: make(chan struct{})}
	t.must("/v1/customers", map[string]any{"id": owner, "override": "teams"}, nil)
	for i := range 2 {
		var made struct{ ID string }
		t.must("/v1/town?customer="+owner, map[string]any{"citizens": 7, "seed": fmt.Sprint(r.Uint64()), "name": fmt.Sprint("town ", i)}, &made)
		t.towns = append(t.towns, made.ID)
	}
	now := time.Now().Add(-time.Hour)
	t.lives = []*life{
		newLife("cus_upgrade", now).created("pro_monthly", "active").paid().updated("teams_monthly", "active").ends("teams", subscription.StatusActive),
		newLife("cus_healed", now).created("pro_monthly", "active").paid().failed("again").updated("pro_monthly", "past_due").paidLate("again").updated("pro_monthly", "active").ends("pro", subscription.StatusActive),
		newLife("cus_grace", now).created("teams_monthly", "active").paid().failed("open").updated("teams_monthly", "past_due").ends("teams", subscription.StatusPastDue),
		newLife("cus_lost", now.AddDate(0, 0, -20)).created("pro_monthly", "active").paid().failed("never").updated("pro_monthly", "past_due").ends("free", subscription.StatusUnpaid),
		newLife("cus_gone", now).created("pro_monthly", "trialing").updated("pro_monthly", "active").paid().deleted().ends("free", subscription.StatusCanceled),
	}
	for _, id := range t.towns {
		t.wg.Go(func() { t.live(id, rand.New(rand.NewPCG(seed, uint64(len(id))))) })
	}
	t.wg.Go(func() { t.renew(rand.New(rand.NewPCG(seed, 99))) })
	for i, l := range t.lives {
		t.wg.Go(func() { t.tell(l, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	return t
}

// live steps a town until the trade ends. A step that is not answered well is made
// again: it may then have been made twice, and the town itself knows best.
func (t *trade) live(id string, r *rand.Rand) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for last := false; ; {
		select {
		case <-t.stop:
			last = true // and a last step after everything has healed, which takes what was left with it
		default:
		}
		way := t.w.APIGates[r.IntN(len(t.w.APIGates))]
		code, _ := post(client, way, fmt.Sprintf("/v1/town/%s/step?customer=%s&cycles=%d", id, owner, 1+r.IntN(3)), nil, nil)
		switch {
		case code == http.StatusOK && last:
			return
		case code != http.StatusOK && code != 0 && code != http.StatusServiceUnavailable && code != http.StatusConflict && code != http.StatusTooManyRequests:
			t.w.Errorf("a step of a town is answered %d", code)
			return
		}
		time.Sleep(time.Duration(20+r.IntN(150)) * time.Millisecond)
	}
}

// tell delivers a life as Stripe may: in any order, some of it twice, each until it is
// taken.
func (t *trade) tell(l *life, r *rand.Rand) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	bodies := append(slices.Clone(l.events), l.events[r.IntN(len(l.events))], l.events[r.IntN(len(l.events))])
	r.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	ledger := &ledger{w: t.w, acked: map[string]string{}, refused: map[string]bool{}}
	for _, body := range bodies {
		ledger.deliver(client, r, request{path: "/webhooks/stripe", body: body})
		time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	}
}

// renewed has a subscription for which there is a payment every moment, so that there is
// something to apply whenever somebody dies of it.
const renewed = "cus_renewed"

func (t *trade) renew(r *rand.Rand) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ledger := &ledger{w: t.w, acked: map[string]string{}, refused: map[string]bool{}}
	w := newLife(renewed, time.Now().Add(-time.Hour)).created("pro_monthly", "active")
	for n := 0; ; n++ {
		ledger.deliver(client, r, request{path: "/webhooks/stripe", body: w.life.events[n]})
		select {
		case <-t.stop:
			return
		case <-time.After(time.Duration(50+r.IntN(100)) * time.Millisecond):
		}
		w.at = w.at.Add(-time.Minute + time.Millisecond) // within the hour that has passed
		w.invoice("invoice.paid", fmt.Sprint("n", n))
	}
}

// finish ends it; everything is taken when it returns.
func (t *trade) finish() {
	close(t.stop)
	t.wg.Wait()
}

// open says what is not as it must be in the end; it is empty when all is well.
func (t *trade) open() (wrong []string) {
	for _, id := range t.towns {
		var said struct{ Interactions, Tokens int64 }
		if code, err := t.get("/v1/town/"+id+"/metrics?customer="+owner, &said); code != http.StatusOK {
			wrong = append(wrong, fmt.Sprintf("the figures of town %s: %d %v", id, code, err))
			continue
		}
		interactions, spent, shared := t.metered(id)
		if interactions != said.Interactions || spent != said.Tokens || shared != said.Tokens {
			wrong = append(wrong, fmt.Sprintf("town %s lived %d interactions of %d tokens; metered are %d of %d, and %d by citizen",
				id, said.Interactions, said.Tokens, interactions, spent, shared))
		}
	}
	for _, l := range append(t.lives, &life{customer: renewed, end: "pro", status: subscription.StatusActive}) {
		var said struct{ Standing subscription.Standing }
		if code, err := t.get("/v1/customers/"+l.customer, &said); code != http.StatusOK {
			wrong = append(wrong, fmt.Sprintf("customer %s: %d %v", l.customer, code, err))
			continue
		}
		if said.Standing.Plan != l.end || said.Standing.Status != l.status {
			wrong = append(wrong, fmt.Sprintf("customer %s has the plan %s (%s), want %s (%s)", l.customer, said.Standing.Plan, said.Standing.Status, l.end, l.status))
		}
		if l.events == nil {
			continue // more than an explanation shows
		}
		var why subscription.Standing
		if code, err := t.get("/v1/customers/"+l.customer+"/explain", &why); code != http.StatusOK {
			wrong = append(wrong, fmt.Sprintf("why customer %s has its plan: %d %v", l.customer, code, err))
			continue
		}
		if diff := cmp.Diff(l.ids(t.w), applied(why)); diff != "" {
			wrong = append(wrong, fmt.Sprintf("the events of customer %s (-sent +applied):\n%s", l.customer, diff))
		}
	}
	return wrong
}

// count adds up, for the table, what open has found right.
func (t *trade) count(r *result) {
	for _, id := range t.towns {
		var said struct{ Interactions int64 }
		if _, err := t.get("/v1/town/"+id+"/metrics?customer="+owner, &said); err != nil {
			t.w.Error(err)
		}
		interactions, _, _ := t.metered(id)
		r.lived, r.metered = r.lived+said.Interactions, r.metered+interactions
	}
	for _, l := range t.lives {
		var said struct{ Standing subscription.Standing }
		if _, err := t.get("/v1/customers/"+l.customer, &said); err != nil {
			t.w.Error(err)
		}
		r.applied += int64(len(l.events))
		if said.Standing.Plan == l.end {
			r.plans++
		}
	}
}

// metered is what the meter has of a town.
func (t *trade) metered(id string) (interactions, spent, shared int64) {
	t.w.Meter.View(func(counted map[string]string) {
		for identity, data := range counted {
			if !strings.HasPrefix(identity, town.Source+" "+id+".") {
				continue
			}
			var d struct {
				Tokens       int64
				Participants []string
			}
			if err := json.Unmarshal([]byte(data), &d); err != nil {
				t.w.Errorf("%s: %v", identity, err)
			}
			if d.Participants != nil {
				interactions++
				spent += d.Tokens
			} else {
				shared += d.Tokens
			}
		}
	})
	return interactions, spent, shared
}

// applied are the Stripe events that a standing was made of, each as often as it was.
func applied(s subscription.Standing) (ids []string) {
	for _, step := range s.Why {
		if step.Event != "" {
			ids = append(ids, step.Event)
		}
	}
	slices.Sort(ids)
	return ids
}

// ids are those of the life's events, and the check that the fold of all of them, in
// their order, is where the life says that it ends.
func (l *life) ids(w *world.World) (ids []string) {
	var state subscription.State
	for _, body := range l.events {
		result, err := stripe.Translate(body)
		if err != nil {
			w.Fatal(err)
		}
		c, ok, err := subscription.FromEvent(result.Event)
		if err != nil || !ok {
			w.Fatalf("an event of %s is none of a subscription: %v", l.customer, err)
		}
		state = state.Apply(c)
		ids = append(ids, result.StripeID)
	}
	if s := state.Standing(time.Now(), plan.Default()); s.Plan != l.end || s.Status != l.status {
		w.Fatalf("the life of %s ends in %s (%s), not as written in %s (%s)", l.customer, s.Plan, s.Status, l.end, l.status)
	}
	slices.Sort(ids)
	return ids
}

func (t *trade) must(path string, body, out any) {
	t.w.Helper()
	t.w.Eventually("POST "+path, 30*time.Second, func() bool {
		code, err := post(world.Quick, t.w.APIGates[0], path, body, out)
		if code >= 400 && code != http.StatusServiceUnavailable {
			t.w.Fatalf("POST %s is answered %d: %v", path, code, err)
		}
		return code/100 == 2
	})
}

func (t *trade) get(path string, out any) (int, error) {
	for _, p := range t.w.APIs {
		if p.Address() == "" {
			continue // killed for good
		}
		return call(world.Quick, http.MethodGet, p.Address()+path, nil, out)
	}
	return 0, fmt.Errorf("no api is there")
}

func post(client *http.Client, way *world.Gate, path string, body, out any) (int, error) {
	return call(client, http.MethodPost, "http://"+way.Addr+path, body, out)
}

func call(client *http.Client, method, url string, body, out any) (int, error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, sent)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+world.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("%s", b)
	}
	if out != nil {
		err = json.Unmarshal(b, out)
	}
	return resp.StatusCode, err
}

// ownEvent tells whether the ledger knows nothing of a counted event since the trade
// has sent it.
func ownEvent(identity string) bool {
	return strings.HasPrefix(identity, kgents.SourceTown+" ") || strings.HasPrefix(identity, kgents.SourceStripe+" evt_trade")
}
