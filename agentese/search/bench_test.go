package search

import (
	"context"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese/search/searchtest"
	"github.com/kgents/kgents/agentese/tree"
)

func BenchmarkBuild(b *testing.B) {
	t := searchtest.Tree(b)
	known, _ := ReadWordings(wordingsText)
	for b.Loop() {
		build(t, known)
	}
}

func BenchmarkNew(b *testing.B) {
	t := searchtest.Tree(b)
	for b.Loop() {
		if _, err := New(t); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	x, _ := New(searchtest.Tree(b))
	live := searchtest.Live(b)
	for b.Loop() {
		x.Update(live)
	}
}

func BenchmarkFind(b *testing.B) {
	x, _ := New(searchtest.Tree(b))
	x.Update(searchtest.Live(b))
	x.Warm()
	known, _ := ReadWordings(wordingsText)
	i := 0
	for b.Loop() {
		x.Find(context.Background(), Query{Text: known[i%len(known)].Question, Observer: tree.Admin, Now: time.Unix(1e9, 0)})
		i++
	}
}
