// Package alerts holds the alerting and recording rules, rules.yaml, as data: what
// Prometheus is given and what documents, dashboards and tests are compared with.
//
// It promises that each alert is tested by promtool (silent before its time, firing,
// silent again, a near miss), names only metrics and labels that the program exports,
// has the annotations a paged person needs, and that all rules together are evaluated
// in less than 100 ms. It reads nothing while the program runs and depends on nothing
// that could be away.
//
// The rules are written for Prometheus 2.42 and later.
package alerts

import (
	_ "embed"
	"fmt"
	"iter"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed rules.yaml
var source []byte

// Source is rules.yaml: a plain Prometheus rule file.
func Source() []byte { return []byte(string(source)) }

// File is a Prometheus rule file.
type File struct {
	Groups []Group `json:"groups" yaml:"groups"`
}

// Group is rules that are evaluated one after the other.
type Group struct {
	Name  string `json:"name" yaml:"name"`
	Rules []Rule `json:"rules" yaml:"rules"`
}

// Rule records a series or raises an alert: one of Record and Alert is set.
type Rule struct {
	Record      string            `json:"record,omitempty" yaml:"record,omitempty"`
	Alert       string            `json:"alert,omitempty" yaml:"alert,omitempty"`
	Expr        string            `json:"expr" yaml:"expr"`
	For         string            `json:"for,omitempty" yaml:"for,omitempty"` // as Prometheus writes durations: 5m, 1h
	Labels      map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`
}

// Severity is critical (somebody is woken), warning (within a working day) or none
// (for machines only). It is empty for what records.
func (r Rule) Severity() string { return r.Labels["severity"] }

// Anchor is the section of docs/saas/runbook.md that the alert leads to.
func (r Rule) Anchor() string {
	_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
	return anchor
}

// Rules parses rules.yaml. An error means that the file the program was built with
// is broken, which the package's tests rule out.
func Rules() (File, error) { return Parse(source) }

// Parse reads a Prometheus rule file. It refuses fields that it does not know.
func Parse(text []byte) (File, error) {
	var f File
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return File{}, fmt.Errorf("this is no rule file: %w", err)
	}
	return f, nil
}

// All yields every rule, in the file's order.
func (f File) All() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Alerts yields the rules that raise alerts. A name may come more than once, with
// another severity or cause.
func (f File) Alerts() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for r := range f.All() {
			if r.Alert != "" && !yield(r) {
				return
			}
		}
	}
}

// Names are the names of the alerts, each once, in the file's order.
func (f File) Names() []string {
	var names []string
	seen := map[string]bool{}
	for r := range f.Alerts() {
		if !seen[r.Alert] {
			seen[r.Alert] = true
			names = append(names, r.Alert)
		}
	}
	return names
}
