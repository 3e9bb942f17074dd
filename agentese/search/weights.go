package search

// weights of the features, learnt from the tuning questions, each of which was judged
// by an index that didn't know it: go test ./agentese/search -run TestWeights -update.
var weights = [features]float64{
	byModel:    1.225,
	byWording:  2.549,
	byNode:     0.585,
	byText:     3.646,
	byNodeText: -0.054,
	byName:     1.152,
	byGuess:    -1.656,
	lacking:    -3.449,
	inClause:   0.394,
	unused:     -1.671,
	byInstance: 0.628,
	byValue:    -0.161,
	neighbours: -2.854,
	builtin:    2.374,
}
