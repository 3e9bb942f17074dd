package search

import (
	"embed"
	"fmt"
	"strings"
)

// wordingsText are questions of which is known what they mean: the tuning part of the
// evaluation, a line each: question, expected expressions, kind, separated by tabs.
//
//go:embed wordings.tsv
var wordingsText string

// asksFiles are wordings beside those of the nodes: lines of an expression, a tab, and
// questions that mean it, separated by " | ". Who wrote nodes.txt and more.txt knew the
// tuning part of the evaluation; who wrote the fresh ones knew neither part of it.
//
//go:embed asks/*.txt
var asksFiles embed.FS

var fresh = []string{"machinery", "customers", "concepts"}

// readAsks reads lines of an expression and its questions.
func readAsks(text string) []Wording {
	var out []Wording
	for line := range strings.Lines(text) {
		expr, asks, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for ask := range strings.SplitSeq(asks, " | ") {
			out = append(out, Wording{Question: ask, Expected: []string{expr}})
		}
	}
	return out
}

// ReadWordings reads lines of a question and its expected expressions, separated by a
// tab, the expressions by " | ". What follows a further tab is not read. The error
// names the line that is none.
func ReadWordings(text string) ([]Wording, error) {
	var out []Wording
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cols := strings.Split(line, "\t")
		if len(cols) < 2 {
			return nil, fmt.Errorf("search: line %d is no wording: it has no tab", n)
		}
		out = append(out, Wording{Question: cols[0], Expected: strings.Split(cols[1], " | ")})
	}
	return out, nil
}

// Asks are the wordings beside those of the nodes and of the evaluation's tuning part.
func Asks() []Wording { return append(asks("nodes", "more"), FreshAsks()...) }

// FreshAsks are those of Asks that were written by people who didn't know the
// evaluation: what is found with them alone is not flattered.
func FreshAsks() []Wording { return asks(fresh...) }

// asks reads files of asks/. They are part of the program.
func asks(names ...string) []Wording {
	var out []Wording
	for _, name := range names {
		text, err := asksFiles.ReadFile("asks/" + name + ".txt")
		if err != nil {
			panic(err) // a test reads them all
		}
		out = append(out, readAsks(string(text))...)
	}
	return out
}

// Known are all wordings that are part of the program, besides those of the nodes.
func Known() []Wording {
	known, err := ReadWordings(wordingsText)
	if err != nil {
		return nil // a test reads them
	}
	return append(Asks(), known...)
}

// LexiconPhrases are the words, and words that stand together, of the lexicon.
func LexiconPhrases() []string {
	var out []string
	for line := range strings.Lines(lexiconText) {
		if _, words, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			for p := range strings.SplitSeq(words, ",") {
				out = append(out, strings.TrimSpace(p))
			}
		}
	}
	return out
}
