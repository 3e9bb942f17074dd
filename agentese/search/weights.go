package search

// weights of the features, learnt from the tuning questions, each of which was judged
// by an index that didn't know it: go test ./agentese/search -run TestWeights -update.
var weights = [features]float64{
	byModel:    1.381,
	byWording:  1.581,
	byNode:     0.043,
	byText:     3.169,
	byNodeText: 0.433,
	byName:     1.130,
	byGuess:    -1.169,
	lacking:    -3.777,
	inClause:   0.231,
	unused:     -1.521,
	byInstance: 0.136,
	byValue:    -0.095,
	neighbours: -1.527,
	byNumber:   -0.223,
	builtin:    2.259,
}
