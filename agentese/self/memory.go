package self

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (v *view) memoryNode() *tree.Node {
	return &tree.Node{
		Name: "memory",
		Line: "your notes: what you asked to be remembered",
		Doc: "Notes that you keep while you work: what was found, whom to call, what to look at tomorrow. Each has a number, a time and the span under which it was made. " +
			"They are kept in a file of the state directory that only you can read, across sessions; 500 at most, of 2,000 bytes each. " +
			"What is piped into refine becomes the note, so world.alerts.manifest >> self.memory.refine keeps what you saw. Keep no secrets here: what looks like a key is refused.",
		Synonyms: []string{"notes", "notepad", "remember", "memo", "scratchpad", "reminder", "remember that", "jot down", "bookmark", "post-it", "things to remember", "journal"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "your notes, newest first",
				Asks: []string{
					"what did i note", "show my notes", "what should i remember", "what did i want to remember", "list notes", "do you remember", "my reminders",
					"what did i write down yesterday", "search my notes", "read my memos", "recall what i wrote about acme", "notes from the last shift",
				},
				Examples: []tree.Example{
					{Expr: "self.memory.manifest", Line: "all notes"},
					{Expr: "self.memory.manifest[like=acme]", Line: "those with this word"},
				},
				Params: []tree.Param{{Key: "like", Line: "only notes with this word", Kind: tree.Text}},
				See:    v.recall,
			},
			{
				Aspect: agentese.Refine, Line: "keep a note, or forget one",
				Asks: []string{
					"remember that", "make a note", "note that", "write this down", "remind me", "save this for later", "keep this in mind", "add a note",
					"delete a note", "forget that note", "don't forget to check the backup", "take a memo", "save the output as a note",
				},
				Examples: []tree.Example{
					{Expr: "self.memory.refine[note=acme was told on Monday]", Line: "keep a note"},
					{Expr: "world.manifest >> self.memory.refine", Line: "keep what was seen"},
				},
				Params: []tree.Param{
					{Key: "note", Line: "what to remember, 2,000 bytes at most; without it what is piped in", Kind: tree.Text},
					{Key: "do", Line: "keep a note or forget one", Values: []string{"keep", "forget"}, Default: "keep"},
					{Key: "id", Line: "the number of the note to forget, as manifest shows it", Kind: tree.Number, Min: 1},
				},
				Takes:  "anything: it becomes the note",
				Change: v.remember,
			},
		},
	}
}

func (v *view) recall(_ context.Context, c *tree.Call) (tree.Value, error) {
	all, err := v.notes.all()
	if err != nil {
		return tree.Value{}, err
	}
	out := tree.Value{
		Title: "Your notes, newest first",
		Table: &tree.Table{Columns: []tree.Column{{Name: "id"}, {Name: "at"}, {Name: "note"}, {Name: "span"}}},
	}
	for i := len(all) - 1; i >= 0; i-- {
		if n := all[i]; strings.Contains(strings.ToLower(n.Text), strings.ToLower(c.Args.Get("like"))) {
			out.Table.Rows = append(out.Table.Rows, []any{int64(n.ID), n.At, n.Text, n.Span})
		}
	}
	out.Add("notes", int64(len(out.Table.Rows)), "").Add("of at most", int64(MaxNotes), "")
	if len(all) == 0 {
		out.Then(`self.memory.refine[note="…"]`, "keep the first")
	}
	if !v.notes.lasting() {
		out.Note("There is no state directory: notes end with this session.")
	}
	return out, nil
}

func (v *view) remember(_ context.Context, c *tree.Call) (*tree.Change, error) {
	if c.Args.Get("do") == "forget" {
		return v.forget(c)
	}
	text := c.Args.Get("note")
	switch {
	case c.Args.Has("id"):
		return nil, clause("[id=…] is for [do=forget]: a new note gets its number", "self.memory.refine[do=forget][id="+c.Args.Get("id")+"]")
	case text != "" && c.Input != nil:
		return nil, clause("there is a [note=…], and something is piped in: which is it to be?", "leave one of them out")
	case text == "" && c.Input != nil:
		text = flat(*c.Input)
	}
	text, err := tidy(text)
	if err != nil {
		return nil, err
	}
	all, err := v.notes.all()
	if err != nil {
		return nil, err
	}
	if len(all) >= MaxNotes {
		return nil, &agentese.Error{Kind: agentese.KindDeclined, What: fmt.Sprintf("there are %d notes, and no more are kept", MaxNotes), Try: []string{"self.memory.refine[do=forget][id=" + strconv.Itoa(all[0].ID) + "]"}}
	}
	n := Note{At: c.Now().UTC(), Text: text, Span: c.Span}
	return &tree.Change{
		Does: []string{"remember: " + short(text)}, Affects: 1,
		Do: func(context.Context) (tree.Value, error) {
			err := v.notes.add(&n)
			out := tree.Value{Title: "Noted", Text: n.Text}
			out.Add("id", int64(n.ID), "")
			out.Then("self.memory.manifest", "all notes")
			return out, err
		},
		Undo: func(context.Context) error { _, err := v.notes.drop(n.ID); return err },
	}, nil
}

func (v *view) forget(c *tree.Call) (*tree.Change, error) {
	if c.Args.Has("note") || c.Input != nil {
		return nil, clause("forgetting takes an [id=…] and nothing else", "self.memory.manifest shows the numbers")
	}
	if !c.Args.Has("id") {
		return nil, clause("[id=…] is missing: which note?", "self.memory.manifest shows the numbers")
	}
	id := c.Args.Int("id")
	all, err := v.notes.all()
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if n.ID != id {
			continue
		}
		return &tree.Change{
			Does: []string{"forget note " + strconv.Itoa(id) + ": " + short(n.Text)}, Affects: 1,
			Do: func(context.Context) (tree.Value, error) {
				_, err := v.notes.drop(id)
				return tree.Value{Title: "Forgotten", Text: n.Text}, err
			},
			Undo: func(context.Context) error { return v.notes.put(n) },
		}, nil
	}
	return nil, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no note " + strconv.Itoa(id), Try: []string{"self.memory.manifest"}}
}

func clause(what, try string) error {
	return &agentese.Error{Kind: agentese.KindClause, What: what, Try: []string{try}}
}
