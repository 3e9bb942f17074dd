package checklist_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/kgents/kgents/checklist"
)

// hostile is what a system could say to break the report that quotes it.
const hostile = "a | b\n<script>alert(1)</script> [x](http://evil) `c` \x00\x1b ]]> & \"q\""

func report(t *testing.T) checklist.Report {
	t.Helper()
	r, err := checklist.Run(t.Context(), parse(t, three), map[string]checklist.Check{
		"blocks": always(checklist.Failed(hostile, "mend | it")), "later": wrong, "there": good,
	}, checklist.Options{Target: checklist.Kubernetes})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report(t).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		OK      bool
		Counts  map[string]int
		Results []struct{ ID, Verdict, Evidence, Next, Category string }
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.OK || back.Counts["fail"] != 2 || back.Counts["open"] != 1 || back.Results[0].Evidence != hostile || back.Results[0].Category != "first" {
		t.Errorf("got %+v", back)
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := report(t).Markdown(&b); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		rows++
		if n := strings.Count(line, "|") - strings.Count(line, `\|`); n != 5 {
			t.Errorf("a row has %d bars that are not escaped, want 5: %s", n, line)
		}
		if strings.Contains(line, "<script") || strings.Contains(line, " [x](") {
			t.Errorf("what was seen makes its own tag or link: %s", line)
		}
	}
	if rows != 2*2+4 {
		t.Errorf("%d rows", rows)
	}
	if !strings.HasPrefix(b.String(), "# Checklist: not ready") {
		t.Errorf("it begins with %.40q", b.String())
	}
}

// CI reads as failed what blocks or fails, as skipped what nobody could tell.
func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := report(t).JUnit(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Skipped  int    `xml:"skipped,attr"`
			Cases    []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if len(back.Suites) != 2 {
		t.Fatalf("%d suites", len(back.Suites))
	}
	first, second := back.Suites[0], back.Suites[1]
	if first.Tests != 2 || first.Failures != 2 || second.Tests != 2 || second.Failures != 1 || second.Skipped != 0 {
		t.Errorf("got %+v", back)
	}
	if second.Cases[0].Failure != nil || second.Cases[1].Failure == nil {
		t.Error("the open item that blocks is no failure, or the one that passes is one")
	}
}
