package concept_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/docs/saas"
)

// texts are a column's cells.
func texts(t *testing.T, v tree.Value, name string) []string {
	t.Helper()
	var out []string
	for _, cell := range column(t, v, name) {
		out = append(out, cell.(string))
	}
	return out
}

// Every page is listed and shows its sections, each of which can be read, and what
// follows from there can be run.
func TestDocs(t *testing.T) {
	pages := texts(t, must(t, "concept.docs.manifest"), "page")
	if len(pages) != len(saas.Documents())+2 || !slices.Contains(pages, "shell") || !slices.IsSorted(pages) {
		t.Errorf("the pages are %q", pages)
	}
	read := 0
	for _, name := range pages {
		v := must(t, "concept.docs."+name+".manifest")
		if v.Title == "" || len(v.Table.Rows) < 2 {
			t.Errorf("%s is %+v", name, v)
		}
		for _, next := range v.Next {
			if s := must(t, next.Expr); s.Title != next.Line {
				t.Errorf("%s leads to %q", next.Expr, s.Title)
			}
		}
		for _, anchor := range texts(t, v, "section") {
			s := must(t, "concept.docs."+name+".manifest[section="+anchor+"]")
			if s.Title == "" || !strings.HasSuffix(field(s, "page").(string), name+".md#"+anchor) {
				t.Errorf("%s#%s is %+v", name, anchor, s)
			}
			for _, next := range s.Next {
				if _, err := see(t, &living.Sources{}, next.Expr); err != nil {
					t.Errorf("%s#%s leads to %s: %v", name, anchor, next.Expr, err)
				}
			}
			read++
		}
	}
	if read < 200 {
		t.Errorf("only %d sections are read", read)
	}
	if v := must(t, "concept.docs.meters.manifest[section=all]"); !strings.Contains(v.Text, "## Add a meter") || !strings.Contains(v.Text, "## Ask a meter") {
		t.Errorf("the whole page is %s", v.Text)
	}
}

// What people ask is answered in a section that its words find.
func TestDocsAnswer(t *testing.T) {
	for words, want := range map[string]string{
		"how do I send a usage event":                   "events#send-a-usage-event",
		"what fields must an event have":                "events#the-fields-of-an-event",
		"how do I add a meter":                          "meters#add-a-meter",
		"how do i test the stripe webhook":              "stripe#test-the-webhook-on-your-machine",
		"test the stripe webhook on my machine locally": "stripe#test-the-webhook-on-your-machine",
		"RESTART NATS":                                  "runbook#restart-nats",
		"going live":                                    "stripe#going-live",
	} {
		v := must(t, "concept.docs.manifest[word="+words+"]")
		if len(v.Table.Rows) == 0 || v.Table.Rows[0][0].(string)+"#"+v.Table.Rows[0][1].(string) != want {
			t.Errorf("%s: %.300v, not %s", words, v.Table.Rows, want)
		}
		if len(v.Next) == 0 || must(t, v.Next[0].Expr).Text == "" {
			t.Errorf("%s leads nowhere", words)
		}
	}
	if v := must(t, "concept.docs.manifest[word=xyzzyx]"); len(v.Table.Rows) != 0 || !strings.HasPrefix(v.Title, "No section") {
		t.Errorf("%+v", v)
	}
	if v := must(t, "concept.docs.manifest[word=the]"); len(v.Table.Rows) < 50 {
		t.Errorf("%d sections have a the", len(v.Table.Rows))
	}
}

func TestDocsMissing(t *testing.T) {
	for expr, near := range map[string]string{
		"concept.docs.event.manifest":                         "concept.docs.events",
		"concept.docs.nothing.manifest":                       "",
		"concept.docs.events.manifest[section=nothing]":       "",
		"concept.docs.events.manifest[section=event]":         "concept.docs.events.manifest[section=send-a-usage-event]",
		"concept.docs.runbook.manifest[section=dead-letters]": "concept.runbook.dead-letters-growing.manifest",
	} {
		_, err := see(t, &living.Sources{}, expr)
		e, ok := errors.AsType[*agentese.Error](err)
		if !ok || e.Kind != agentese.KindNotFound || near != "" && !slices.Contains(e.Related, near) {
			t.Errorf("%s: %v, near %v", expr, err, e)
		}
	}
}
