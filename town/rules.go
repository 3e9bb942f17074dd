package town

// The operations. Move, Wake and Rest cost nothing and aren't interactions.
const (
	Greet     = "greet"
	Gossip    = "gossip"
	Trade     = "trade"
	Solo      = "solo"
	Dispute   = "dispute"
	Celebrate = "celebrate"
	Mourn     = "mourn"
	Teach     = "teach"
	Wake      = "wake"
	Move      = "move"
	Rest      = "rest"
)

// State is what a citizen is doing.
type State string

// The states. A resting citizen accepts only Wake: the right to rest.
const (
	Idle        State = "idle"
	Socializing State = "socializing"
	Working     State = "working"
	Reflecting  State = "reflecting"
	Resting     State = "resting"
)

// operation is a row of the table of operations.
type operation struct {
	name   string
	tokens int64
	each   bool // tokens are for each participant
	drama  float64
}

var operations = map[string]operation{
	Greet:     {Greet, 200, false, .1},
	Gossip:    {Gossip, 500, false, .4},
	Trade:     {Trade, 400, false, .3},
	Solo:      {Solo, 300, false, .1},
	Dispute:   {Dispute, 600, false, .8},
	Celebrate: {Celebrate, 400, true, .2},
	Mourn:     {Mourn, 500, true, .5},
	Teach:     {Teach, 800, false, .2},
}

// MaxOperations is the most that happens in one phase.
const MaxOperations = 5

// phase is a row of the table of a day.
type phase struct {
	name                       string
	least, most                int // operations
	greet, gossip, trade, solo float64
	wakes                      bool    // all wake at its start
	rest                       float64 // the probability with which each rests at its end
}

var phases = []phase{
	{"morning", 2, 4, .2, .1, .3, .4, true, 0},
	{"afternoon", 3, 5, .25, .2, .35, .2, false, 0},
	{"evening", 2, 4, .3, .3, .2, .2, false, .3},
	{"night", 1, 2, .1, .2, .1, .6, false, .7},
}

// weighted is an everyday operation with its weight in a phase.
type weighted struct {
	operation string
	of        float64
}

func (p *phase) weights() [4]weighted {
	return [4]weighted{{Greet, p.greet}, {Gossip, p.gossip}, {Trade, p.trade}, {Solo, p.solo}}
}
