package self

import (
	"context"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

func (v *view) sessionNode() *tree.Node {
	return &tree.Node{
		Name: "session",
		Line: "this session of the shell: since when, where it stands, as whom, and its commands",
		Doc: "When the session began, where its prompt stands, as which observer it looks, and how its commands went. The witness aspect lists the commands with outcome and duration; " +
			"what was changed is marked. It is kept by the shell; a single expression (kgents repl -c, or a script) has none and says so. " +
			"Refine makes the session look as another observer, from the next command on: take no more than you need, and go back afterwards.",
		Synonyms: []string{"shell session", "terminal", "command history", "history", "what i did", "log of commands", "observer", "switch role", "my role", "login", "prompt"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "since when, where, as whom, and how the commands went",
				Asks: []string{
					"how long have i been in here", "which observer am i", "what is my role", "session info", "when did this session start", "how many commands have i run",
					"did any of my commands fail", "did i change anything", "where does my prompt stand", "am i admin", "what role do i have right now", "current session",
				},
				Examples: []tree.Example{{Expr: "self.session.manifest", Line: "this session at a glance"}},
				See:      v.session,
			},
			{
				Aspect: agentese.Witness, Line: "the commands of this session with outcome and duration",
				Asks: []string{
					"what did i do", "show my history", "what commands did i run", "what have i changed", "list my last commands", "which command failed", "what was slow",
					"what did i type before", "history of this session", "go over what i just did", "how long did my commands take", "recap for the handover", "what happened in this shell",
				},
				Examples: []tree.Example{
					{Expr: "self.session.witness", Line: "all commands, newest first"},
					{Expr: "self.session.witness[outcome=failed]", Line: "those that failed"},
				},
				Params: []tree.Param{
					{Key: "outcome", Line: "only what came to this", Values: []string{"done", "failed", "declined", "stopped"}},
					{Key: "like", Line: "only commands with this word", Kind: tree.Text},
					{Key: "changed", Line: "only commands that changed something", Kind: tree.Flag},
				},
				See: v.commands,
			},
			{
				Aspect: agentese.Refine, Line: "look as another observer from the next command on",
				Asks: []string{
					"become admin", "switch observer", "make me architect", "sudo", "i need more rights", "change my role", "act as developer", "drop my privileges",
					"go back to default", "elevate", "log in as explorer", "i want to be able to change things", "raise my permissions",
				},
				Examples: []tree.Example{{Expr: "self.session.refine[observer=architect]", Line: "look as architect"}},
				Params:   []tree.Param{{Key: "observer", Line: "as whom", Values: observerNames(), Required: true}},
				Change:   v.become,
			},
		},
	}
}

func (v *view) shell() *living.Shell {
	if v.from.Shell == nil {
		return &living.Shell{}
	}
	return v.from.Shell
}

func (v *view) session(_ context.Context, c *tree.Call) (tree.Value, error) {
	shell := v.shell()
	out := tree.Value{Title: "This session", State: tree.Well}
	out.Add("observer", c.Observer.String(), "")
	if !shell.Began.IsZero() {
		out.Add("began", shell.Began, "").Add("for", c.Now().Sub(shell.Began), "")
	}
	if shell.Place != nil {
		place := "/"
		if names := shell.Place(); len(names) > 0 {
			place = agentese.JoinPath(names...)
		}
		out.Add("place", place, "")
	}
	if shell.Commands == nil {
		out.Note("No shell runs this: there is no list of commands.")
	} else {
		counts, changed := map[living.Outcome]int64{}, int64(0)
		all := shell.Commands()
		for _, cmd := range all {
			counts[cmd.Outcome]++
			if cmd.Changed {
				changed++
			}
		}
		out.Add("commands", int64(len(all)), "").Add("failed", counts[living.Failed], "").Add("declined", counts[living.Declined], "").Add("changes", changed, "")
		if len(all) == living.MaxCommands {
			out.Note("Only the newest 1,000 commands are kept.")
		}
	}
	out.Add("notes", int64(v.notes.count()), "")
	out.Then("self.session.witness", "the commands")
	out.Then("self.capabilities.manifest", "what "+c.Observer.String()+" may do")
	return out, nil
}

func (v *view) commands(_ context.Context, c *tree.Call) (tree.Value, error) {
	shell := v.shell()
	out := tree.Value{
		Title: "Commands of this session, newest first",
		Table: &tree.Table{Columns: []tree.Column{{Name: "at"}, {Name: "command"}, {Name: "outcome"}, {Name: "took"}, {Name: "changed"}, {Name: "error"}}},
	}
	if shell.Commands == nil {
		out.Note("No shell runs this: there is no list of commands.")
		return out, nil
	}
	all := shell.Commands()
	var slowest time.Duration
	for i := len(all) - 1; i >= 0; i-- {
		cmd := all[i]
		if c.Args.Has("outcome") && c.Args.Get("outcome") != string(cmd.Outcome) || c.Args.Flag("changed") && !cmd.Changed ||
			!strings.Contains(strings.ToLower(cmd.Line), strings.ToLower(c.Args.Get("like"))) {
			continue
		}
		slowest = max(slowest, cmd.Took)
		out.Table.Rows = append(out.Table.Rows, []any{cmd.At, cmd.Line, string(cmd.Outcome), cmd.Took, cmd.Changed, cmd.Error})
	}
	out.Add("commands", int64(len(out.Table.Rows)), "")
	if len(out.Table.Rows) > 0 {
		out.Add("slowest", slowest, "")
	}
	out.Then("self.memory.manifest", "what was noted")
	return out, nil
}

func (v *view) become(_ context.Context, c *tree.Call) (*tree.Change, error) {
	to, err := tree.ParseObserver(c.Args.Get("observer"))
	if err != nil {
		return nil, err
	}
	set, was := v.shell().SetObserver, c.Observer
	if set == nil {
		return nil, &agentese.Error{
			Kind: agentese.KindAway, What: "no shell runs this, so there is nothing to go on as " + to.String(),
			Try: []string{"start kgents repl with --observer " + to.String()},
		}
	}
	if to == was {
		return &tree.Change{Nothing: true, Does: []string{"you are " + to.String() + " already"}}, nil
	}
	plan := &tree.Change{
		Does: []string{"look as " + to.String() + " instead of " + was.String() + " from the next command on"}, Affects: 1,
		Do: func(ctx context.Context) (tree.Value, error) {
			if err := set(ctx, to); err != nil {
				return tree.Value{}, err
			}
			out := tree.Value{Title: "You look as " + to.String() + " from the next command on"}
			out.Then("self.capabilities.manifest", "what "+to.String()+" may do")
			return out, nil
		},
		Undo: func(ctx context.Context) error { return set(ctx, was) },
	}
	if to == tree.Admin {
		plan.Warnings = []string{"An admin can drop events, revoke keys and cancel subscriptions: go back with /observer " + was.String() + " when it is done."}
	}
	return plan, nil
}
