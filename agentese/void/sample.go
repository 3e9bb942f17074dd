package void

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/meter"
)

// page is how many events the meter lists at most, and triesPer how often it is asked
// for each event of a sample at most: a moment may have an event that is drawn already.
const (
	page     = 100
	triesPer = 4
)

// envelope is what an event says of itself.
type envelope struct {
	ID      string          `json:"id"`
	Source  string          `json:"source"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Time    time.Time       `json:"time"`
	Data    json.RawMessage `json:"data"`
}

func (e envelope) identity() string { return e.Source + " " + e.ID }

// drawn is an event of the sample.
type drawn struct {
	envelope
	ingested time.Time
	problem  string // why no meter counts it
}

// seedOf is what chance is drawn from: the kernel's, or what a step names to draw the
// same again. It is shown as text.
func seedOf(text string) (seed [32]byte, shown string, err error) {
	if text == "" {
		var short [8]byte
		_, _ = cryptorand.Read(short[:]) // never fails
		text = hex.EncodeToString(short[:])
	}
	if len(text) > len(seed) {
		return seed, "", &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("[seed=…] has at most %d bytes", len(seed))}
	}
	copy(seed[:], text)
	return seed, text, nil
}

func (v *view) sip(ctx context.Context, c *tree.Call) (tree.Value, error) {
	seed, shown, err := seedOf(c.Args.Get("seed"))
	if err != nil {
		return tree.Value{}, err
	}
	if err := affordable(c); err != nil {
		return tree.Value{}, err
	}
	if c.Args.Flag("dry_run") {
		return tree.Value{Title: "Dry run: nothing was drawn", Text: fmt.Sprintf("would draw %d events with the seed %s, for %.2f of the budget", c.Args.Int("n"), shown, tree.CallEntropy)}, nil
	}
	r := rand.New(rand.NewChaCha8(seed))
	out := tree.Value{Title: "Events drawn by chance", Table: &tree.Table{Columns: []tree.Column{
		{Name: "time"}, {Name: "id", Link: "time.trace.{}"}, {Name: "type"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "source"}, {Name: "ingested"}, {Name: "error"},
	}}}
	from, to := c.Args.Time("since").UTC().Truncate(time.Second), c.Now().UTC()
	if !from.Before(to) {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: "[since=…] is not in the past", Try: []string{"[since=6h]"}}
	}
	sample, how, err := v.sample(ctx, c, r, from, to)
	if err != nil {
		return tree.Value{}, err
	}
	if len(sample) > 0 {
		if err := pay(c); err != nil {
			return tree.Value{}, err
		}
	}
	payload := c.Observer >= tree.Developer
	if payload {
		out.Table.Columns = append(out.Table.Columns, tree.Column{Name: "data"})
	}
	uncounted := int64(0)
	for _, e := range sample {
		row := []any{moment(e.Time), e.ID, e.Type, e.Subject, e.Source, moment(e.ingested), e.problem}
		if payload {
			row = append(row, string(e.Data))
		}
		if e.problem != "" {
			uncounted++
		}
		out.Table.Rows = append(out.Table.Rows, row)
	}
	out.Add("drawn", int64(len(sample)), "events").Add("not counted", uncounted, "events").Add("since", from, "").Add("seed", shown, "")
	_, left, _ := c.Session.Budget.State()
	out.Add("entropy left", rounded(left), "")
	out.Note(how)
	if !payload {
		out.Note("What the events carry is shown to a developer and more.")
	}
	if len(sample) > 0 {
		out.Then("time.trace."+agentese.QuoteName(sample[0].ID)+".manifest", "the way of one of them")
	}
	again := agentese.NewStep(agentese.Sip, "void", "entropy").With("of", "events").With("n", strconv.Itoa(c.Args.Int("n")))
	if customer := c.Args.Get("customer"); customer != "" {
		again = again.With("customer", customer)
	}
	again = again.With("since", from.Format(time.RFC3339)).With("seed", shown)
	out.Then(again.String(), "the same chance again: the same events, if none has come since and there are few")
	return out, nil
}

// sample draws events between two times, each once. How says how it was drawn.
func (v *view) sample(ctx context.Context, c *tree.Call, r *rand.Rand, from, to time.Time) (sample []drawn, how string, err error) {
	n := c.Args.Int("n")
	all, err := v.list(ctx, c, from, to, page)
	if err != nil {
		return nil, "", err
	}
	if len(all) < page {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		sample = all[:min(n, len(all))]
		how = fmt.Sprintf("Each of the %d events of the time had the same chance.", len(all))
		if len(all) == 0 {
			how = "There is no event in this time, so nothing was drawn, and nothing was paid."
		}
	} else {
		sample, err = v.moments(ctx, c, r, from, to, n)
		how = fmt.Sprintf("Drawn over time: %d random moments since %s, and of each the event that came last before it; so a quiet hour counts as much as a busy one.", len(sample), from.Format(time.RFC3339))
		if more := others(r, all, sample, n); err == nil && len(more) > 0 {
			// Most of the time had no event of its own: what is asked for is drawn all the same.
			sample = append(sample, more...)
			how += fmt.Sprintf(" The moments had no more: %d are from the newest %d events, by chance. A shorter time with [since=…] has more.", len(more), len(all))
		}
	}
	slices.SortStableFunc(sample, func(a, b drawn) int { return b.Time.Compare(a.Time) })
	return sample, how, err
}

// others are what a sample lacks to n, from all by chance, each once.
func others(r *rand.Rand, all, sample []drawn, n int) []drawn {
	seen := map[string]bool{}
	for _, e := range sample {
		seen[e.identity()] = true
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(e drawn) bool { return seen[e.identity()] })
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return rest[:min(len(rest), max(0, n-len(sample)))]
}

// moments draws by random moments. Where nothing is before a moment, the time begins
// there: events may have begun long after from.
func (v *view) moments(ctx context.Context, c *tree.Call, r *rand.Rand, from, to time.Time, n int) ([]drawn, error) {
	var sample []drawn
	seen := map[string]bool{}
	for range triesPer*n + 40 {
		if len(sample) == n || !from.Before(to) {
			break
		}
		at := from.Add(time.Duration(r.Int64N(int64(to.Sub(from)))))
		found, err := v.list(ctx, c, from, at, 1)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			from = at.Truncate(time.Second).Add(time.Second)
			continue
		}
		if key := found[0].identity(); !seen[key] {
			seen[key] = true
			sample = append(sample, found[0])
		}
	}
	return sample, nil
}

// list asks the meter for the newest events of a time.
func (v *view) list(ctx context.Context, c *tree.Call, from, to time.Time, limit int) ([]drawn, error) {
	query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}, "limit": {strconv.Itoa(limit)}}
	if customer := c.Args.Get("customer"); customer != "" {
		query.Set("subject", customer)
	}
	var stored []meter.StoredEvent
	if err := v.from.For(c).Get(ctx, "/api/v1/events", query, &stored); err != nil {
		return nil, living.Away("the meter", err)
	}
	var out []drawn
	for _, s := range stored {
		d := drawn{ingested: s.IngestedAt, problem: s.ValidationError}
		if json.Unmarshal(s.Event, &d.envelope) == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

// moment is a time; nil for the zero time.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// affordable says why a draw can't be paid, before anything is asked.
func affordable(c *tree.Call) error {
	if c.Entropy < tree.CallEntropy-1e-9 {
		return &agentese.Error{Kind: agentese.KindDeclined, What: fmt.Sprintf("a draw costs %.2f, and [entropy=…] allows %g", tree.CallEntropy, c.Entropy), Try: []string{"leave [entropy=…] out"}}
	}
	b := c.Session.Budget
	if b == nil {
		return &agentese.Error{Kind: agentese.KindDeclined, What: "this session has no entropy budget, so nothing can be drawn in it"}
	}
	if _, left, _ := b.State(); left < tree.CallEntropy-1e-9 {
		return spent(left)
	}
	return nil
}

// pay takes what a draw costs.
func pay(c *tree.Call) error {
	if c.Draw(tree.CallEntropy) {
		return nil
	}
	_, left, _ := c.Session.Budget.State()
	return spent(left)
}

func spent(left float64) error {
	return &agentese.Error{
		Kind: agentese.KindDeclined, What: fmt.Sprintf("a draw costs %.2f of the entropy budget, and %.2f is left", tree.CallEntropy, left),
		Try: []string{"begin a new session, which has a full budget"},
	}
}
