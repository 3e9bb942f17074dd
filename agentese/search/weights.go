package search

// weights of the features, learnt from the tuning questions, each of which was judged
// by an index that didn't know it: go test ./agentese/search -run TestWeights -update.
var weights = [features]float64{
	byModel:    0.592,
	byWording:  2.929,
	byNode:     -0.828,
	byText:     3.510,
	byNodeText: 0.669,
	byName:     1.606,
	byGuess:    0.208,
	lacking:    -4.270,
	inClause:   0.750,
	unused:     -2.394,
	byInstance: -2.937,
	byValue:    0.935,
	neighbours: -1.390,
	byNumber:   -0.595,
	builtin:    0.666,
}
