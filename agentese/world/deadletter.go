package world

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/system"
)

// Bounds of one look and of one change.
const (
	mostCounted = 10_000 // letters that a lens counts
	mostChanged = 1000   // letters that one refine takes on
	mostPages   = 100    // of 1,000 letters that a filter looks through
)

func letterFilter() []tree.Param {
	return []tree.Param{
		{Key: "reason", Line: "only these: refused by the meter, or malformed", Values: []string{string(deadletter.Refused), string(deadletter.Malformed)}},
		{Key: "type", Line: "only events of this type"},
		{Key: "customer", Line: "only this one's", Of: "world.customers"},
		{Key: "since", Line: "only those that were buried since", Kind: tree.Time},
		{Key: "until", Line: "only those that were buried before", Kind: tree.Time},
	}
}

func (w *world) deadletter() *tree.Node {
	return &tree.Node{
		Name: "deadletter",
		Line: "events that the meter refused and that wait for a person",
		Doc: "An event that the meter answers with 4xx, or that is no event at all, is kept here with the reason, byte for byte, from GET /api/v1/deadletters. It is not billed until somebody replays it. " +
			"None is good; a new one is the alert DeadLettersGrowing, one that has waited for a day is DeadLettersWaiting. Read the reasons first (lens), mend what was wrong, for instance in the meter's configuration, and then replay: " +
			"each event counts once, however often it is replayed, and one that is refused again is a letter again. Malformed ones can only be dropped.",
		Synonyms: []string{"dead letters", "dlq", "dead letter queue", "rejected events", "refused events", "failed events", "poison messages", "bad events", "parked events", "unbilled events", "stuck events", "quarantine"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "the dead letters, oldest first, with the reason",
				Asks: []string{
					"are there dead letters", "what is in the dlq", "which events were rejected", "show failed events", "why was the event refused", "events that were not billed", "what did the meter refuse",
					"list poison messages", "dead letters of a customer", "how many events failed", "usage was refused", "malformed events",
				},
				Params: append(letterFilter(), tree.Param{Key: "limit", Line: "so many at most", Kind: tree.Number, Min: 1, Max: mostCounted, Default: "100"}),
				Examples: []tree.Example{
					{Expr: "world.deadletter.manifest", Line: "the oldest hundred"},
					{Expr: "world.deadletter.manifest[reason=refused][since=24h]", Line: "what the meter has refused since yesterday"},
				},
				See: w.seeLetters,
			},
			{
				Aspect: agentese.Witness, Line: "their history: how many waited, and how old the oldest was",
				Asks: []string{
					"when did dead letters start", "dead letters over time", "is the dlq growing", "when were events refused", "did dead letters go down after the replay", "dlq history",
					"how long have letters been waiting", "trend of rejected events", "when was the last dead letter",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.deadletter.witness[since=6h]", Line: "six hours of them"}},
				See: w.witness(past{title: "Dead letters", figures: []figure{
					{name: "kgents_deadletters_waiting", title: "waiting"},
					{name: "kgents_deadletters_oldest_age_seconds", title: "oldest", unit: "seconds"},
				}, next: []tree.Example{{Expr: "world.deadletter.lens", Line: "by reason"}}}),
			},
			{
				Aspect: agentese.Lens, Line: "dead letters counted by reason, customer or type",
				Asks: []string{
					"dead letters by reason", "which customer has the most failed events", "group rejected events", "why are events refused most often", "dead letters per type", "count dlq by customer",
					"summary of dead letters", "most common rejection", "who is affected by refused events", "break down the dlq",
				},
				Params: append(letterFilter(), tree.Param{Key: "by", Line: "what they are counted by", Values: []string{"reason", "customer", "type"}, Default: "reason"}),
				Examples: []tree.Example{
					{Expr: "world.deadletter.lens", Line: "by reason"},
					{Expr: "world.deadletter.lens[by=customer]", Line: "by customer"},
				},
				See: w.countLetters,
			},
			{
				Aspect: agentese.Refine, Line: "replay or drop many: all, those that a filter leaves, or those that are piped in", Needs: tree.Architect,
				Asks: []string{
					"replay dead letters", "send failed events again", "retry the dlq", "reprocess rejected events", "drop all dead letters", "purge the dlq", "clear failed events", "resend refused events",
					"requeue dead letters", "bill the refused events", "delete malformed events", "empty the dead letter queue",
				},
				Takes:  "rows with a column seq: the letters that are meant",
				Params: append(letterFilter(), tree.Param{Key: "do", Line: "send them again, or delete them for ever (admin)", Values: []string{"replay", "drop"}, Default: "replay"}),
				Examples: []tree.Example{
					{Expr: "world.deadletter.refine[do=replay][dry_run=true]", Line: "what a replay of all would do"},
					{Expr: "world.deadletter.refine[do=replay][reason=refused][since=24h]", Line: "replay what was refused since yesterday"},
					{Expr: "world.deadletter.manifest[type=agent.tokens] >> world.deadletter.refine[do=replay]", Line: "replay those that another look has found"},
				},
				Change: w.endLetters,
			},
		},
		Live: &tree.Live{Open: true, List: w.listLetters, Node: w.letter()},
	}
}

// filterOf is the query of a call's clauses.
func filterOf(c *tree.Call) url.Values {
	q := url.Values{}
	for _, key := range []string{"reason", "type", "customer"} {
		if v := c.Args.Get(key); v != "" {
			q.Set(key, v)
		}
	}
	for _, key := range []string{"since", "until"} {
		if c.Args.Has(key) {
			q.Set(key, c.Args.Time(key).UTC().Format(time.RFC3339))
		}
	}
	return q
}

// letters are up to most of those that a query leaves, and whether there are more.
func (w *world) letters(ctx context.Context, c *tree.Call, query url.Values, most int) (out []deadletter.Stored, more bool, err error) {
	after := uint64(0)
	api := w.For(c)
	for range mostPages {
		// One more than asked for tells whether there are more.
		query.Set("limit", strconv.Itoa(min(most-len(out)+1, deadletter.MaxPage)))
		query.Set("after", strconv.FormatUint(after, 10))
		var page deadletter.ListAnswer
		if err := api.Get(ctx, "/api/v1/deadletters", query, &page); err != nil {
			return out, false, living.Away("the dead letters", err)
		}
		out = append(out, page.Letters...)
		if len(out) > most {
			return out[:most], true, nil
		}
		if page.Next <= after { // 0 at the end
			return out, false, nil
		}
		after = page.Next
	}
	return out, true, nil
}

func (w *world) listLetters(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
	letters, _, err := w.letters(ctx, c, url.Values{}, deadletter.MaxPage)
	if err != nil {
		return nil, err
	}
	out := make([]tree.Entry, len(letters))
	for i, l := range letters {
		out[i] = tree.Entry{Name: seqName(l.Seq), Line: reasonOf(l) + ", " + l.Type + " of " + l.Subject}
	}
	return out, nil
}

func seqName(seq uint64) string { return strconv.FormatUint(seq, 10) }

func reasonOf(l deadletter.Stored) string {
	if l.Status == 0 {
		return string(l.Reason)
	}
	return fmt.Sprintf("%s %d", l.Reason, l.Status)
}

// lettersState is what the alerts on dead letters would say.
func (w *world) lettersState(r system.Report) tree.State {
	d := r.DeadLetters
	if d == nil {
		return tree.Unknown
	}
	if d.Waiting == 0 {
		return tree.Well
	}
	state := tree.State("")
	if !d.Oldest.IsZero() {
		state = w.limits.verdict("DeadLettersWaiting", r.Now.Sub(d.Oldest).Seconds())
	}
	if !d.Newest.IsZero() {
		state = worse(state, w.limits.verdict("DeadLettersGrowing", r.Now.Sub(d.Newest).Seconds()))
	}
	return state
}

func (w *world) seeLetters(ctx context.Context, c *tree.Call) (tree.Value, error) {
	letters, more, err := w.letters(ctx, c, filterOf(c), c.Args.Int("limit"))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Dead letters", State: tree.Unknown, Table: &tree.Table{Columns: []tree.Column{
		{Name: "seq", Link: "world.deadletter.{}"}, {Name: "buried"}, {Name: "reason"}, {Name: "refused"}, {Name: "type"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "id"}, {Name: "detail"},
	}}}
	for _, l := range letters {
		v.Table.Rows = append(v.Table.Rows, []any{int64(l.Seq), l.Buried, reasonOf(l), int64(l.Count), l.Type, l.Subject, l.ID, l.Detail})
	}
	v.Add("shown", int64(len(letters)), "")
	if len(letters) == 0 && !more && len(filterOf(c)) == 0 {
		v.State = tree.Well // and newer than the report, which may be two seconds old
		v.Add("waiting", int64(0), "")
	} else {
		w.waiting(ctx, c, &v)
	}
	switch {
	case more:
		v.Note("There are more: narrow it down, or ask for more with [limit=…].")
	case len(letters) == 0:
		v.Note("There are no dead letters like that.")
	}
	if len(letters) > 0 {
		v.Then("world.deadletter.lens", "counted by reason")
		v.Then("world.deadletter."+seqName(letters[0].Seq)+".manifest", "the oldest of them")
		v.Then("world.deadletter.refine[do=replay][dry_run=true]", "what a replay would do")
	}
	return v, nil
}

// waiting adds how many wait at all, and how old the oldest and the newest are.
func (w *world) waiting(ctx context.Context, c *tree.Call, v *tree.Value) {
	r, err := w.report(ctx, c)
	if err != nil || r.DeadLetters == nil {
		v.Add("waiting", nil, "").Add("oldest", nil, "")
		unknown(v, "How many wait", err)
		return
	}
	d := r.DeadLetters
	v.State = w.lettersState(r)
	v.Add("waiting", int64(d.Waiting), "")
	if len(filterOf(c)) == 0 && int(d.Waiting) > len(v.Table.Rows) {
		v.Table.Total = int(d.Waiting)
	}
	if d.Waiting == 0 || d.Oldest.IsZero() {
		return
	}
	age := r.Now.Sub(d.Oldest)
	add(v, "oldest", age, "", w.limits.verdict("DeadLettersWaiting", age.Seconds()), "alert DeadLettersWaiting past a day")
	if !d.Newest.IsZero() {
		age := r.Now.Sub(d.Newest)
		add(v, "newest", age, "", w.limits.verdict("DeadLettersGrowing", age.Seconds()), "alert DeadLettersGrowing within 30 minutes")
	}
}

func (w *world) countLetters(ctx context.Context, c *tree.Call) (tree.Value, error) {
	letters, more, err := w.letters(ctx, c, filterOf(c), mostCounted)
	if err != nil {
		return tree.Value{}, err
	}
	by := c.Args.Get("by")
	type group struct {
		n              int64
		oldest, newest time.Time
		example        string
	}
	groups, counts := map[string]*group{}, map[string]float64{}
	for _, l := range letters {
		key := map[string]string{"reason": reasonOf(l), "customer": l.Subject, "type": l.Type}[by]
		g := groups[key]
		if g == nil {
			g = &group{oldest: l.Buried, newest: l.Buried, example: l.Detail}
			groups[key] = g
		}
		g.n++
		counts[key]++
		if l.Buried.Before(g.oldest) {
			g.oldest = l.Buried
		}
		if l.Buried.After(g.newest) {
			g.newest, g.example = l.Buried, l.Detail
		}
	}
	link := map[string]string{"customer": "world.customers.{}"}[by]
	v := tree.Value{Title: "Dead letters by " + by, Table: &tree.Table{Columns: []tree.Column{{Name: by, Link: link}, {Name: "count"}, {Name: "oldest"}, {Name: "newest"}, {Name: "detail"}}}}
	for _, one := range sorted(counts) {
		g := groups[one.key]
		v.Table.Rows = append(v.Table.Rows, []any{one.key, g.n, g.oldest, g.newest, g.example})
	}
	v.Add("counted", int64(len(letters)), "")
	if more {
		v.Note("Only the oldest 10,000 were counted.")
	}
	v.Note("Detail is the meter's answer to the newest of each.")
	v.Then("world.deadletter.manifest", "one by one")
	return v, nil
}
