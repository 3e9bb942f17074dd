package search

import (
	"math"

	"github.com/kgents/kgents/agentese"
)

// model is a log-linear one over the wordings: how much each term speaks for each
// node, its parent, and each aspect. What is learnt of an aspect at one node holds at
// all others, and a node's words hold for all its aspects. It is trained from nothing
// when the index is built, in a fixed order, so that it is the same each time.
type model struct {
	nodes, aspects int
	weights        []float32 // by term: nodes, then aspects
	bias           []float32
}

// How it is trained: passes over the wordings, how far each goes, and how much a weight
// shrinks. Found by cross-validation over the tuning questions (agentese/eval).
const (
	passes   = 8
	rate     = 2
	shrink   = 2e-5
	upParent = 0.5 // how much of a node's score is its parent's
)

func (m *model) width() int { return m.nodes + m.aspects }

func train(b *built) *model {
	m := &model{nodes: len(b.nodes), aspects: len(agentese.Aspects())}
	width := m.width()
	m.weights = make([]float32, len(b.terms)*width)
	m.bias = make([]float32, width)
	labels, probs := make([]float32, width), make([]float32, len(b.options))
	step := make([]float32, width)
	right := make([]bool, len(b.options))
	for pass := range passes {
		speed := float32(rate) / (1 + 0.35*float32(pass))
		for k := range b.wordings {
			s := &b.wordings[(k*7919+pass*104729)%len(b.wordings)]
			if len(s.terms) == 0 || s.norm == 0 {
				continue
			}
			m.sum(s.terms, s.norm, labels)
			softmax(b, labels, probs)
			var hit float32
			for _, o := range s.options {
				right[o] = true
				hit += probs[o]
			}
			clear(step)
			for i := range b.options {
				g := -probs[i]
				if right[i] {
					g += probs[i] / max(hit, 1e-6)
				}
				o := &b.options[i]
				step[o.node] += g
				step[o.parent] += upParent * g
				step[m.nodes+o.aspect] += g
			}
			for _, o := range s.options {
				right[o] = false
			}
			f := speed * float32(s.weight)
			for i, g := range step {
				m.bias[i] += 0.05 * f * g
			}
			for _, t := range s.terms {
				x := f * float32(t.weight/s.norm)
				row := m.weights[t.term*width : (t.term+1)*width]
				for i := range row {
					row[i] += x*step[i] - shrink*row[i]
				}
			}
		}
	}
	return m
}

// sum adds up what the terms say for each node and aspect.
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

// softmax makes the options' probabilities of the sums.
func softmax(b *built, labels, probs []float32) {
	nodes := len(b.nodes)
	top := float32(math.Inf(-1))
	for i := range b.options {
		o := &b.options[i]
		probs[i] = labels[o.node] + upParent*labels[o.parent] + labels[nodes+o.aspect]
		top = max(top, probs[i])
	}
	var total float32
	for i := range probs {
		probs[i] = float32(math.Exp(float64(probs[i] - top)))
		total += probs[i]
	}
	for i := range probs {
		probs[i] /= total
	}
}

// judge gives the log-probability of each option.
func (m *model) judge(b *built, v []weighted, norm float64) []float64 {
	labels, probs := make([]float32, m.width()), make([]float32, len(b.options))
	if norm > 0 {
		m.sum(v, norm, labels)
	}
	softmax(b, labels, probs)
	out := make([]float64, len(probs))
	for i, p := range probs {
		out[i] = math.Log(float64(max(p, 1e-7)))
	}
	return out
}
