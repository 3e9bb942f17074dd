package search

// weights of the features, learnt from the tuning questions, each of which was judged
// by an index that didn't know it: go test ./agentese/search -run TestWeights -update.
var weights = [features]float64{
	byModel:    1.209,
	byWording:  2.382,
	byNode:     1.340,
	byText:     2.878,
	byNodeText: -0.106,
	byName:     1.351,
	byGuess:    -1.338,
	lacking:    -3.516,
	inClause:   0.243,
	unused:     -1.769,
	byInstance: -0.232,
	byValue:    -0.278,
	neighbours: -0.395,
	byNumber:   -0.278,
	builtin:    2.238,
}
