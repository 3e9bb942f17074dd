package checklist

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Ready says whether a result lets the launch go on.
func (r Result) Ready() bool {
	return !r.Blocking || r.Verdict == Pass || r.Verdict == Signed || r.Verdict == Warn
}

// JSON writes the report as one indented document.
func (r Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// Markdown writes the report as a page, to be kept with a release.
func (r Report) Markdown(w io.Writer) error {
	var b bytes.Buffer
	state := "ready"
	if !r.OK {
		state = "not ready"
	}
	fmt.Fprintf(&b, "# Checklist: %s\n\nTarget %s, %s, in %s.\n\n", state, r.Target, r.At.Format(time.RFC3339), r.Took.Round(100*time.Millisecond))
	category := ""
	for _, res := range r.Results {
		if res.Category != category {
			category = res.Category
			fmt.Fprintf(&b, "\n## %s\n\n| | item | evidence | next |\n|---|---|---|---|\n", category)
		}
		blocking := ""
		if res.Blocking {
			blocking = " (blocking)"
		}
		fmt.Fprintf(&b, "| %s | `%s`%s | %s | %s |\n", res.Verdict, res.ID, blocking, cell(res.Evidence), cell(res.Next))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// cell is text for a table of Markdown: what was seen in a system that may be
// hostile must make no table, link or tag of its own.
func cell(text string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;", "&", "&amp;",
		"[", "\\[", "]", "\\]", "`", "\\`", "*", "\\*", "_", "\\_").Replace(text)
}

// The form of JUnit that CI systems read.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		At       string      `xml:"timestamp,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Skipped *junitMessage `xml:"skipped,omitempty"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as CI systems read it: a failure is a blocking item that
// is not ready or any item that fails; what nobody could tell or has signed, and
// doesn't block, is skipped.
func (r Report) JUnit(w io.Writer) error {
	out := junitSuites{Name: "kgents checklist " + string(r.Target)}
	var took time.Duration
	for _, res := range r.Results {
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != res.Category {
			out.Suites, took = append(out.Suites, junitSuite{Name: res.Category, At: r.At.Format("2006-01-02T15:04:05")}), 0
		}
		suite := &out.Suites[len(out.Suites)-1]
		c := junitCase{Name: res.ID, Class: "checklist." + res.Category, Time: seconds(res.Took), Out: clean(string(res.Verdict) + ": " + res.Evidence)}
		message := &junitMessage{clean(string(res.Verdict) + ": " + res.Evidence), clean(res.Next)}
		switch {
		case !res.Ready() || res.Verdict == Fail:
			c.Failure = message
			suite.Failures++
		case res.Verdict == Unknown || res.Verdict == Open:
			c.Skipped = message
			suite.Skipped++
		}
		suite.Tests++
		took += res.Took
		suite.Time = seconds(took)
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// clean leaves out what XML can't hold.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, text)
}
