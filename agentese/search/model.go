package search

import (
	"math"

	"github.com/kgents/kgents/agentese"
)

// model is a log-linear one over the wordings: how much each term speaks for each
// node, its parent, and each aspect. What is learnt of an aspect at one node holds at
// all others, a node's words hold for all its aspects, and a told name's at all nodes.
// It is trained from nothing
// when the index is built, in a fixed order, so that it is the same each time.
type model struct {
	nodes, aspects, told int
	weights              []float32 // by term: nodes, then aspects, then told names
	bias                 []float32
}

// How it is trained: passes over the wordings, how far each goes, and how much a weight
// shrinks. Found by cross-validation over the tuning questions (agentese/eval).
const (
	passes   = 4
	rate     = 2
	shrink   = 2e-5
	upParent = 0.5 // how much of a node's score is its parent's
)

func (m *model) width() int { return m.nodes + m.aspects + m.told }

// train makes the model. It, and what it calls, are not watched for races, which would
// take tests ten times as long: nobody else has this memory yet.
//
//go:norace
func train(b *built) *model {
	m := &model{nodes: len(b.nodes), aspects: len(agentese.Aspects()), told: len(b.choices.told)}
	width := m.width()
	m.weights = make([]float32, len(b.terms)*width)
	m.bias = make([]float32, width)
	labels, probs := make([]float32, width), make([]float32, len(b.choices.list))
	step := make([]float32, width)
	right := make([]bool, len(b.choices.list))
	var moved []int
	for pass := range passes {
		speed := float32(rate) / (1 + 0.35*float32(pass))
		for k := range b.wordings {
			s := &b.wordings[(k*7919+pass*104729)%len(b.wordings)]
			if len(s.terms) == 0 || s.norm == 0 {
				continue
			}
			m.sum(s.terms, s.norm, labels)
			m.softmax(b, labels, probs)
			var hit float32
			for _, c := range s.choices {
				if !right[c] {
					right[c] = true
					hit += probs[c]
				}
			}
			clear(step)
			for i, c := range b.choices.list {
				g := -probs[i]
				if right[i] {
					g += probs[i] / max(hit, 1e-6)
				}
				if g > -least && g < least {
					continue
				}
				o := &b.options[c.option]
				step[o.node] += g
				step[o.parent] += upParent * g
				step[m.nodes+o.aspect] += g
				if c.told >= 0 {
					step[m.nodes+m.aspects+c.told] += g
				}
			}
			for _, c := range s.choices {
				right[c] = false
			}
			f := speed * float32(s.weight)
			moved = moved[:0]
			for i, g := range step {
				if g != 0 {
					moved = append(moved, i)
					m.bias[i] += 0.05 * f * g
				}
			}
			for _, t := range s.terms {
				x := f * float32(t.weight/s.norm)
				row := m.weights[t.term*width : (t.term+1)*width]
				for _, i := range moved {
					row[i] += x*step[i] - shrink*row[i]
				}
			}
		}
	}
	return m
}

// least is how much a choice must be wrong by to be learnt from.
const least = 1e-4

// sum adds up what the terms say for each node, aspect and told name.
//
//go:norace
func (m *model) sum(terms []weighted, norm float64, out []float32) {
	copy(out, m.bias)
	width := m.width()
	for _, t := range terms {
		x := float32(t.weight / norm)
		row := m.weights[t.term*width : (t.term+1)*width]
		for i, w := range row {
			out[i] += x * w
		}
	}
}

// softmax makes the choices' probabilities of the sums.
//
//go:norace
func (m *model) softmax(b *built, labels, probs []float32) {
	top := float32(math.Inf(-1))
	for i, c := range b.choices.list {
		o := &b.options[c.option]
		x := labels[o.node] + upParent*labels[o.parent] + labels[m.nodes+o.aspect]
		if c.told >= 0 {
			x += labels[m.nodes+m.aspects+c.told]
		}
		probs[i] = x
		top = max(top, x)
	}
	var total float32
	for i, x := range probs {
		if x -= top; x < -14 {
			probs[i] = 0
			continue
		} else {
			probs[i] = float32(math.Exp(float64(x)))
		}
		total += probs[i]
	}
	for i := range probs {
		probs[i] /= total
	}
}

// judge gives the log-probability of each choice.
func (m *model) judge(b *built, v []weighted, norm float64) []float64 {
	labels, probs := make([]float32, m.width()), make([]float32, len(b.choices.list))
	if norm > 0 {
		m.sum(v, norm, labels)
	}
	m.softmax(b, labels, probs)
	out := make([]float64, len(probs))
	for i, p := range probs {
		out[i] = math.Log(float64(max(p, 1e-7)))
	}
	return out
}
