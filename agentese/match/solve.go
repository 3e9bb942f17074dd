package match

// solve finds the cheapest reading of all tokens, in which each is a segment, part of
// one, several, the aspect or nothing: over tokens from left to right, and over the
// sets of segments that are taken already, so that their order is free and only costs.
func (a *aligner) solve(n *node, segs []seg, options *[2 * maxTokens][9][]hit, runs []aRun) {
	m, k := len(segs), len(a.tokens)
	width := 1 << (m + 1)
	aspectBit := 1 << m
	if need := (k + 1) * width; cap(a.states) < need {
		a.states = make([]state, need)
	}
	st := a.states[:(k+1)*width]
	for i := range st {
		st[i] = state{cost: none}
	}
	st[0].cost = 0
	var asAspects [maxTokens][]hit
	for i := range k {
		asAspects[i] = a.aspects(n, i)
	}
	step := func(at int, to int, cost float32, s state) {
		if cost < st[to].cost {
			s.cost, s.from = cost, int32(at)
			st[to] = s
		}
	}
	for i := range k {
		for mask := range width {
			at := i*width + mask
			c := st[at].cost
			if c >= none {
				continue
			}
			moved := func(j int) float32 {
				if mask&(aspectBit-1)>>(j+1) != 0 {
					return costMoved
				}
				return 0
			}
			drop := a.dropping(i, mask&aspectBit != 0)
			step(at, (i+1)*width+mask, c+drop, state{op: opDrop, at: int8(i)})
			for j := range m {
				if mask&(1<<j) != 0 {
					continue
				}
				if o := options[i][j]; len(o) > 0 {
					step(at, (i+1)*width+mask|1<<j, c+o[0].cost+moved(j), state{op: opTake, at: int8(i), seg: int8(j), dirty: moved(j) > 0})
				}
				if i+1 < k {
					if o := options[k+i][j]; len(o) > 0 {
						step(at, (i+2)*width+mask|1<<j, c+o[0].cost+costJoined+moved(j), state{op: opPair, at: int8(i), seg: int8(j), dirty: moved(j) > 0})
					}
				}
			}
			if mask&aspectBit == 0 {
				if o := asAspects[i]; len(o) > 0 {
					best := 0
					for x := range o {
						if o[x].cost < o[best].cost {
							best = x
						}
					}
					late := float32(0)
					if i < k-1 {
						late = costMoved
						if i == 0 && o[best].how == saying {
							late = costVerbFirst
						}
					}
					if o[best].cost < none {
						step(at, (i+1)*width+mask|aspectBit, c+o[best].cost+late, state{op: opAspect, at: int8(i), pick: int8(best), dirty: late > costVerbFirst})
					}
				}
			}
			for r := range runs {
				if x := &runs[r]; x.token == i {
					bitsOf := (1<<x.to - 1) &^ (1<<x.from - 1)
					if mask&bitsOf == 0 {
						step(at, (i+1)*width+mask|bitsOf, c+x.hit.cost+moved(x.from), state{op: opRun, at: int8(i), seg: int8(r), dirty: moved(x.from) > 0})
					}
				}
			}
		}
	}
	// The cheapest end with an aspect, and without.
	share, here := a.shared(segs), a.at(segs) || a.alone(n)
	for _, with := range []bool{true, false} {
		best, bestCost := -1, none
		for mask := range width {
			c := st[k*width+mask].cost
			if c >= none || (mask&aspectBit != 0) != with || mask&(1<<(m-1)) == 0 && !here {
				continue
			}
			for j := range m {
				if mask&(1<<j) == 0 {
					c += a.missing(segs, j, share)
				}
			}
			if c < bestCost {
				best, bestCost = mask, c
			}
		}
		if best >= 0 && bestCost < none/2 {
			a.read(n, segs, st, k*width+best, best, bestCost, options, asAspects[:], runs, share)
		}
	}
}

// inText says whether blanks are around token i, as in a sentence.
func (a *aligner) inText(i int) bool {
	return len(a.tokens) > 1 && (i == 0 || a.tokens[i].spaced) && (i+1 == len(a.tokens) || a.tokens[i+1].spaced)
}

// dropping is what it costs that token i means nothing; aspect says whether there is
// one already.
func (a *aligner) dropping(i int, aspect bool) float32 {
	f := a.tokens[i].folded
	_, fixed := a.g.index[f]
	switch said := len(sayings[f]) > 0 && !fixed; {
	case isUnclear(f) && a.inText(i), said && aspect:
		return costFiller
	case said:
		return costSaying
	}
	return costExtra
}

// missing is what it costs that no token is segment j.
func (a *aligner) missing(segs []seg, j, share int) float32 {
	switch {
	case j < share && share == len(a.place):
		return costFromHere
	case j < share:
		return 0.15
	case segs[j].word < 0:
		if segs[j].name != "" { // the only town where such a citizen lives
			return costNoHolon
		}
		return none
	case j == 0:
		return costNoContext
	}
	return costNoHolon
}
