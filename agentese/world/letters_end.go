package world

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/consume/deadletter"
)

const (
	dropFinal   = "what is dropped is deleted for ever, and its event is never billed"
	replayFinal = "what the meter has counted is not taken out of it again; each event counts once"
)

// refusedWithin is how long a sink needs to bury what it was sent again and the meter
// refuses again, counted from a second before the replay; with a margin.
const refusedWithin = 3 * time.Second

// mayDrop says whether an observer may drop letters.
func mayDrop(c *tree.Call) error {
	if c.Args.Get("do") != "drop" || c.Observer >= tree.Admin {
		return nil
	}
	return &agentese.Error{Kind: agentese.KindDenied, What: "dropping is not open to the observer " + c.Observer.String(), Why: "it needs admin: " + dropFinal, Try: []string{"/observer admin"}}
}

// endLetters plans the end of many.
func (w *world) endLetters(ctx context.Context, c *tree.Call) (*tree.Change, error) {
	if err := mayDrop(c); err != nil {
		return nil, err
	}
	letters, more, err := w.meant(ctx, c)
	if err != nil {
		return nil, err
	}
	return w.plan(c, letters, more), nil
}

// meant are the letters that are piped in, or that the clauses leave.
func (w *world) meant(ctx context.Context, c *tree.Call) ([]deadletter.Stored, bool, error) {
	if c.Input == nil {
		return w.letters(ctx, c, filterOf(c), mostChanged)
	}
	if len(filterOf(c)) > 0 {
		return nil, false, &agentese.Error{Kind: agentese.KindClause, What: "letters are piped in, and a filter is given, too", Why: "filter in the step before", Try: []string{"world.deadletter.manifest[reason=refused] >> world.deadletter.refine[do=replay]"}}
	}
	seqs, err := seqsOf(c.Input)
	if err != nil {
		return nil, false, err
	}
	more := len(seqs) > mostChanged
	var out []deadletter.Stored
	for _, seq := range seqs[:min(len(seqs), mostChanged)] {
		var l deadletter.LetterAnswer
		err := w.For(c).Get(ctx, "/api/v1/deadletters/"+seqName(seq), nil, &l)
		if client.Status(err) == http.StatusNotFound {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, false, living.Away("the dead letters", err)
		}
		out = append(out, l.Stored)
	}
	return out, more, nil
}

// seqsOf reads the column seq.
func seqsOf(v *tree.Value) ([]uint64, error) {
	wrong := &agentese.Error{Kind: agentese.KindSyntax, What: "what is piped in has no column seq with the numbers of dead letters", Try: []string{"world.deadletter.manifest >> world.deadletter.refine[do=replay]"}}
	if v.Table == nil {
		return nil, wrong
	}
	col := -1
	for i, one := range v.Table.Columns {
		if strings.EqualFold(one.Name, "seq") {
			col = i
		}
	}
	if col < 0 {
		return nil, wrong
	}
	var out []uint64
	seen := map[uint64]bool{}
	for _, row := range v.Table.Rows {
		seq := uint64(0)
		switch n := row[col].(type) {
		case int64:
			seq = uint64(max(n, 0))
		case float64: // from JSON
			if n == math.Trunc(n) && n > 0 && n < 1<<53 {
				seq = uint64(n)
			}
		case string:
			seq, _ = strconv.ParseUint(n, 10, 64)
		}
		if seq == 0 {
			return nil, wrong
		}
		if !seen[seq] {
			seen[seq] = true
			out = append(out, seq)
		}
	}
	return out, nil
}

// plan says what would become of letters.
func (w *world) plan(c *tree.Call, letters []deadletter.Stored, more bool) *tree.Change {
	do := c.Args.Get("do")
	var can []deadletter.Stored
	for _, l := range letters {
		if do == "drop" || l.Reason != deadletter.Malformed && !l.Truncated {
			can = append(can, l)
		}
	}
	plan := &tree.Change{Affects: len(can), Final: replayFinal}
	if do == "drop" {
		plan.Final = dropFinal
		plan.Warnings = append(plan.Warnings, "their events are never billed")
	}
	if skipped := len(letters) - len(can); skipped > 0 {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("%s can't be replayed, since they hold no whole event: have them sent again, then drop them", counting(skipped)))
	}
	if more {
		plan.Warnings = append(plan.Warnings, "one run takes on 1,000 at most and there are more: run it again")
	}
	if len(can) == 0 {
		plan.Nothing, plan.Does = true, append([]string{"There are no dead letters like that."}, plan.Warnings...)
		return plan
	}
	plan.Does = append(plan.Does, do+" "+counting(len(can))+": "+tally(can, reasonOf))
	plan.Does = append(plan.Does, "of the types "+tally(can, func(l deadletter.Stored) string { return l.Type }))
	plan.Does = append(plan.Does, "of the customers "+tally(can, func(l deadletter.Stored) string { return l.Subject }))
	var first []string
	for _, l := range can[:min(len(can), 5)] {
		first = append(first, seqName(l.Seq)+" ("+l.ID+")")
	}
	plan.Does = append(plan.Does, "the first are "+strings.Join(first, ", "))
	var began time.Time
	plan.Do = func(ctx context.Context) (tree.Value, error) {
		began = time.Now().Add(-time.Second)
		return w.end(ctx, c, do, can)
	}
	if do == "replay" {
		plan.Holds = func(ctx context.Context) error {
			if time.Since(began) < refusedWithin {
				return errors.New("the events are under way")
			}
			return w.counted(ctx, c, can, began)
		}
	}
	return plan
}

func counting(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return strconv.Itoa(n) + " dead letters"
}

// tally counts the most frequent five.
func tally(letters []deadletter.Stored, key func(deadletter.Stored) string) string {
	by := map[string]float64{}
	for _, l := range letters {
		by[key(l)]++
	}
	var out []string
	for i, one := range sorted(by) {
		if i == 5 {
			out = append(out, fmt.Sprintf("%d others", len(by)-5))
			break
		}
		name := one.key
		if name == "" {
			name = "(none)"
		}
		out = append(out, fmt.Sprintf("%.0f %s", one.value, name))
	}
	return strings.Join(out, ", ")
}

// end replays or drops one after the other. What fails for a reason of its own doesn't
// hinder the rest; when the server can't go on, neither does this.
func (w *world) end(ctx context.Context, c *tree.Call, do string, letters []deadletter.Stored) (tree.Value, error) {
	api := w.For(c)
	past := map[string]string{"replay": "replayed", "drop": "dropped"}[do]
	v := tree.Value{Title: "Dead letters " + past, Table: &tree.Table{Columns: []tree.Column{{Name: "seq"}, {Name: "id"}, {Name: "what"}}}}
	var done, gone, failed int64
	var stopped error
	for i, l := range letters {
		method, path := http.MethodPost, "/api/v1/deadletters/"+seqName(l.Seq)+"/replay"
		if do == "drop" {
			method, path = http.MethodDelete, "/api/v1/deadletters/"+seqName(l.Seq)
		}
		err := api.Do(ctx, method, path, nil, nil, nil)
		switch status := client.Status(err); {
		case err == nil:
			done++
		case status == http.StatusNotFound:
			gone++
		case status == http.StatusConflict:
			failed++
			v.Table.Rows = append(v.Table.Rows, []any{int64(l.Seq), l.ID, err.Error()})
		default:
			stopped = living.Away("the dead letters", err)
		}
		if stopped != nil {
			break
		}
		if c.Session.Progress != nil && len(letters) > 1 && (i+1 == len(letters) || (i+1)%max(len(letters)/20, 1) == 0) {
			c.Session.Progress(fmt.Sprintf("%d of %d %s", i+1, len(letters), past))
		}
	}
	v.Add(past, done, "").Add("gone meanwhile", gone, "").Add("failed", failed, "").Add("not tried", int64(len(letters))-done-gone-failed, "")
	if len(v.Table.Rows) == 0 {
		v.Table = nil
	}
	if stopped != nil {
		return v, fmt.Errorf("%d of %d %s, then it stopped; the rest is still there: %w", done, len(letters), past, stopped)
	}
	if failed > 0 {
		return v, errors.New(strconv.FormatInt(failed, 10) + " of " + counting(len(letters)) + " could not be " + past)
	}
	if do == "replay" {
		v.Note("An event that is refused again is a dead letter again, with another number.")
		v.Then("world.deadletter.manifest", "whether some were refused again")
		v.Then("world.openmeter.events.manifest", "whether the meter lists them")
	}
	return v, nil
}

// counted is nil while none of the letters is one again.
func (w *world) counted(ctx context.Context, c *tree.Call, replayed []deadletter.Stored, since time.Time) error {
	again, _, err := w.letters(ctx, c, url.Values{"since": {since.UTC().Format(time.RFC3339)}}, mostCounted)
	if err != nil {
		return err
	}
	was := map[[2]string]bool{}
	for _, l := range replayed {
		was[[2]string{l.Source, l.ID}] = true
	}
	n, detail := 0, ""
	for _, l := range again {
		if was[[2]string{l.Source, l.ID}] {
			n++
			detail = l.Detail
		}
	}
	if n > 0 {
		return fmt.Errorf("%s refused again: %s", counting(n), detail)
	}
	return nil
}
