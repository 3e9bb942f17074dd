package world

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/consume/deadletter"
)

// letter is the node of one dead letter, which is named by its sequence.
func (w *world) letter() *tree.Node {
	return &tree.Node{
		Name: "seq",
		Line: "one dead letter by its number, with the meter's words and its event",
		Doc: "One event that could not be metered: why the meter refused it, in its own words, how often, since when, and whose it is, from GET /api/v1/deadletters/{seq}. The event itself is shown to a developer and more. " +
			"Mend what the meter complains of and replay it, or drop it if it is nothing that should be billed. A letter that was replayed is gone; if its event is refused again there is a new one with another number.",
		Synonyms: []string{"one dead letter", "single failed event", "this rejected event", "letter", "dlq entry", "dead letter details", "poison message"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "reason, the meter's words, whose it is, and its event",
				Asks: []string{
					"why was this event refused", "show dead letter", "what is in this letter", "details of a failed event", "what did the meter say about it", "show me the rejected payload",
					"inspect dlq message", "whose event is this", "open the dead letter", "how often was it refused",
				},
				Examples: []tree.Example{{Expr: "world.deadletter.1.manifest", Line: "the letter with the number 1"}},
				See:      w.seeLetter,
			},
			{
				Aspect: agentese.Refine, Line: "replay this one, or drop it", Needs: tree.Developer,
				Asks: []string{
					"replay this event", "retry this dead letter", "send this event again", "drop this letter", "delete this failed event", "reprocess one message", "try the event again",
					"discard this dead letter", "bill this event after all",
				},
				Params:   []tree.Param{{Key: "do", Line: "send it again, or delete it for ever (admin)", Values: []string{"replay", "drop"}, Default: "replay"}},
				Examples: []tree.Example{{Expr: "world.deadletter.1.refine[do=replay]", Line: "replay the letter with the number 1"}},
				Change:   w.endLetter,
			},
		},
	}
}

func (w *world) oneLetter(ctx context.Context, c *tree.Call) (l deadletter.LetterAnswer, err error) {
	name := c.Name("seq")
	seq, err := strconv.ParseUint(name, 10, 64)
	if err != nil || seq == 0 {
		return l, &agentese.Error{Kind: agentese.KindNotFound, What: agentese.QuoteName(name) + " is no dead letter", Why: "they are named by their numbers, as world.deadletter.manifest lists them", Try: []string{"world.deadletter.manifest"}}
	}
	err = w.For(c).Get(ctx, "/api/v1/deadletters/"+seqName(seq), nil, &l)
	return l, living.Away("the dead letter "+seqName(seq), err)
}

func (w *world) seeLetter(ctx context.Context, c *tree.Call) (tree.Value, error) {
	l, err := w.oneLetter(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Dead letter " + seqName(l.Seq)}
	age := c.Now().Sub(l.Buried)
	v.State = worse(tree.Warn, w.limits.verdict("DeadLettersWaiting", age.Seconds()))
	v.Add("reason", reasonOf(l.Stored), "").Add("detail", l.Detail, "").Add("refused", int64(l.Count), "")
	v.Add("first try", moment(l.First), "").Add("last try", moment(l.Last), "").Add("buried", l.Buried, "")
	add(&v, "waits for", age, "", w.limits.verdict("DeadLettersWaiting", age.Seconds()), "alert DeadLettersWaiting past a day")
	v.Add("source", l.Source, "").Add("id", l.ID, "").Add("type", l.Type, "").Add("customer", l.Subject, "").Add("size", int64(l.Bytes), "bytes")
	switch {
	case c.Observer < tree.Developer:
		v.Note("The event itself is shown to a developer and more.")
	case l.Event != nil:
		v.Text = pretty(l.Event)
	default:
		v.Text = base64.StdEncoding.EncodeToString(l.EventBase64)
		v.Note("The event is no JSON, and is shown in base64.")
	}
	if l.Truncated {
		v.Note("Only the beginning of the event is kept.")
	}
	path := "world.deadletter." + seqName(l.Seq)
	if l.Reason != deadletter.Malformed && !l.Truncated {
		v.Then(path+".refine[do=replay]", "send it again, once what the meter complains of is mended")
	}
	v.Then(path+".refine[do=drop]", "delete it for ever")
	if l.Subject != "" {
		v.Then(agentese.JoinPath("world", "customers", l.Subject)+".manifest", "whose it is")
	}
	return v, nil
}

func (w *world) endLetter(ctx context.Context, c *tree.Call) (*tree.Change, error) {
	if err := mayDrop(c); err != nil {
		return nil, err
	}
	l, err := w.oneLetter(ctx, c)
	if err != nil {
		return nil, err
	}
	return w.plan(c, []deadletter.Stored{l.Stored}, false), nil
}
