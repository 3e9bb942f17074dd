package checklist_test

import (
	"testing"

	"github.com/kgents/kgents/checklist"
)

func TestDefault(t *testing.T) {
	l, err := checklist.Default()
	if err != nil {
		t.Fatal(err)
	}
	automatic := 0
	for _, i := range l.Items() {
		if i.Automatic {
			automatic++
		}
	}
	if automatic < 40 {
		t.Errorf("%d items are looked at by the program, want 40 at least", automatic)
	}
	t.Log(len(l.Items()), automatic)
}
