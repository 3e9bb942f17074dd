package search

// weights of the features, learnt from the tuning questions, each of which was judged
// by an index that didn't know it: go test ./agentese/search -run TestWeights -update.
var weights = [features]float64{
	byModel:    0.281,
	byWording:  3.114,
	byNode:     1.820,
	byText:     2.218,
	byNodeText: 1.561,
	byName:     0.934,
	byGuess:    0.152,
	lacking:    -4.227,
	inClause:   1.454,
	unused:     -2.789,
	byInstance: 1.111,
	byValue:    0.441,
	neighbours: -0.013,
	byNumber:   -0.408,
	isTold:     -3.181,
	byTold:     2.862,
	builtin:    -0.286,
}
