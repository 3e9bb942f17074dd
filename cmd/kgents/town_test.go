package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

// lived is a view of a town that has lived for some phases.
func lived(t *testing.T, citizens, phases int) townView {
	t.Helper()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	life, err := town.New("millbrook", citizens, 42, now)
	if err != nil {
		t.Fatal(err)
	}
	v := townView{Live: true}
	for range phases {
		v.Events = append(v.Events, life.Step(t.Context(), now, nil, nil)...)
		m := life.Metrics()
		v.Tension, v.Cooperation = append(v.Tension, m.Tension), append(v.Cooperation, m.Cooperation)
	}
	m := life.Metrics()
	v.Tension, v.Cooperation = keep(v.Tension, bars), keep(v.Cooperation, bars)
	v.Town = host.Town{
		ID: "millbrook", Name: "Millbrook", Customer: "harbour-labs", Citizens: citizens, Created: now, Day: life.Day(), Phase: life.Phase(),
		Events: life.Seq(), Interactions: m.Interactions, Tokens: m.Tokens, Tension: m.Tension, Cooperation: m.Cooperation, Seed: "42",
	}
	for _, p := range life.Places() {
		v.Town.Places = append(v.Town.Places, host.Place(p))
	}
	v.Account = account{
		Plan: "pro", Priced: true, Currency: "usd", PlanCost: 1900,
		Tokens:       quota{Feature: "tokens", Plan: "pro", Known: true, Used: 123_456, Limit: root.AtMost(500_000), Over: root.OverBill, ResetsAt: now.AddDate(0, 0, 3)},
		Interactions: quota{Feature: "interactions", Plan: "pro", Known: true, Used: 345, Limit: root.NoLimit()},
	}
	return v
}

func TestDrawTown(t *testing.T) {
	over := lived(t, 7, 20)
	over.Account.Tokens.Used, over.Account.OverCost = 625_000, 100
	refused := lived(t, 3, 30)
	refused.Town.Customer, refused.Account.Plan, refused.Account.PlanCost = "tiny-co", "free", 0
	refused.Account.Tokens = quota{Feature: "tokens", Plan: "free", Known: true, Used: 9_900, Limit: root.AtMost(10_000), Over: root.OverRefuse, ResetsAt: over.Account.Tokens.ResetsAt}
	refused.Town.Limited = "the plan free allows 10000 tokens, and 9900 are used; it begins anew at 2026-12-01T00:00:00Z"
	refused.Events = append(refused.Events, town.Event{Seq: 999, Day: 8, Phase: "afternoon", Message: refused.Town.Limited, Limited: true})
	unknown := lived(t, 3, 0)
	unknown.Account, unknown.Trouble = account{}, "not up to date, trying again: http://127.0.0.1:8000 doesn't answer"
	hostile := lived(t, 3, 4)
	hostile.Town.Name, hostile.Account.Plan = "a\x1b[2Jb\nc", "p\x1b[0m"
	for _, test := range []struct {
		name          string
		view          townView
		width, height int
	}{
		{"town-80x24", lived(t, 7, 20), 80, 24},
		{"town-120x40", lived(t, 25, 9), 120, 40},
		{"town-25-80x24", lived(t, 25, 9), 80, 24},
		{"town-over", over, 80, 24},
		{"town-refused", refused, 80, 24},
		{"town-unknown", unknown, 80, 24},
		{"town-hostile", hostile, 80, 24},
		{"town-small", lived(t, 10, 9), 40, 12},
		{"town-plain", lived(t, 10, 9), 80, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := test.view.draw(term.Plain(), test.width, test.height)
			if test.height > 0 && len(lines) != test.height && test.height > 15 {
				t.Errorf("%d lines on a screen of %d", len(lines), test.height)
			}
			var out bytes.Buffer
			for _, line := range lines {
				if w := term.Width(line); w > test.width {
					t.Errorf("a line of %d columns on %d: %q", w, test.width, line)
				}
				fmt.Fprintln(&out, strings.TrimRight(line, " "))
			}
			golden(t, test.name, out.Bytes())
		})
	}
}

// However small or large the terminal, no line is wider than it is.
func TestDrawTownAtEverySize(t *testing.T) {
	for _, citizens := range []int{3, 7, 10, 25} {
		v := lived(t, citizens, 12)
		for width := 1; width <= 200; width += 7 {
			for height := 1; height <= 60; height += 5 {
				for _, line := range v.draw(term.Plain(), width, height) {
					if w := term.Width(line); w > width {
						t.Fatalf("%d citizens, %d × %d: a line of %d columns: %q", citizens, width, height, w, line)
					}
				}
			}
		}
	}
}
