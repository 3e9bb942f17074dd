package town

import "strings"

// Traits are what a citizen is like, each in [0, 1]; 0.5 is the ordinary person.
type Traits struct {
	Warmth     float64 `json:"warmth"`
	Curiosity  float64 `json:"curiosity"`
	Trust      float64 `json:"trust"`
	Creativity float64 `json:"creativity"`
	Patience   float64 `json:"patience"`
	Resilience float64 `json:"resilience"`
	Ambition   float64 `json:"ambition"`
}

// archetype is a way to be a citizen: the traits one is born with, and how one sees
// the world.
type archetype struct {
	name       string
	traits     Traits
	philosophy string
	metaphor   string
}

// ordinary is 0.5 in every trait, except what change changes.
func ordinary(change func(*Traits)) Traits {
	t := Traits{.5, .5, .5, .5, .5, .5, .5}
	change(&t)
	return t
}

// Sage is the archetype that can teach.
const Sage = "sage"

var archetypes = byName(
	&archetype{"innkeeper", ordinary(func(t *Traits) { t.Warmth, t.Trust = .8, .7 }),
		"A house is what happens at its table.", "an open door"},
	&archetype{"builder", ordinary(func(t *Traits) { t.Patience, t.Ambition = .7, .6 }),
		"What stands was once argued about.", "a keystone"},
	&archetype{"explorer", ordinary(func(t *Traits) { t.Curiosity, t.Resilience = .9, .7 }),
		"The map is a promise to come back.", "a lantern that walks"},
	&archetype{"gardener", ordinary(func(t *Traits) { t.Patience, t.Warmth = .9, .6 }),
		"Nothing is late that grows.", "a slow root"},
	&archetype{"merchant", ordinary(func(t *Traits) { t.Ambition, t.Trust, t.Curiosity = .8, .4, .6 }),
		"A fair price is a kind of friendship.", "a pair of scales"},
	&archetype{Sage, ordinary(func(t *Traits) { t.Patience, t.Creativity, t.Curiosity = .8, .6, .7 }),
		"To know a thing is to be able to give it away.", "a well"},
	&archetype{"healer", ordinary(func(t *Traits) { t.Warmth, t.Resilience = .9, .7 }),
		"Pain tells the truth first.", "a clean cloth"},
	&archetype{"stargazer", ordinary(func(t *Traits) { t.Curiosity, t.Creativity, t.Ambition = .8, .7, .3 }),
		"Far things keep near things honest.", "a long glass"},
	&archetype{"artist", ordinary(func(t *Traits) { t.Creativity, t.Patience = .9, .3 }),
		"The song was there; somebody had to be loud.", "a cracked bell"},
	&archetype{"keeper", ordinary(func(t *Traits) { t.Patience, t.Trust, t.Curiosity = .6, .3, .3 }),
		"What is forgotten happens again.", "a locked drawer"},
)

func byName(all ...*archetype) map[string]*archetype {
	m := map[string]*archetype{}
	for _, a := range all {
		m[a.name] = a
	}
	return m
}

// places are the regions of a town by the number of its citizens.
var places = map[int][]region{
	3:  allPlaces[:2],
	7:  allPlaces[:5],
	10: allPlaces[:6],
	25: allPlaces,
}

var allPlaces = []region{
	{"inn", 10}, {"square", 20},
	{"garden", 8}, {"market", 15}, {"library", 6},
	{"observatory", 6},
	{"workshop", 10}, {"archive", 8},
}

// cast are the citizens in the order in which they come to a town as it is larger.
var cast = []struct{ name, archetype, home string }{
	{"Alice", "innkeeper", "inn"}, {"Bob", "builder", "square"}, {"Clara", "explorer", "inn"},

	{"Dana", "gardener", "garden"}, {"Emil", "merchant", "market"}, {"Fiona", Sage, "library"}, {"Goran", "healer", "garden"},

	{"Hana", "stargazer", "observatory"}, {"Ivo", "merchant", "market"}, {"June", "artist", "square"},

	{"Kira", "builder", "workshop"}, {"Leo", "keeper", "archive"}, {"Mina", Sage, "library"},
	{"Nils", "builder", "workshop"}, {"Oda", "merchant", "market"}, {"Pavel", "artist", "inn"},
	{"Quinn", "explorer", "square"}, {"Rosa", "gardener", "garden"}, {"Sven", "explorer", "square"},
	{"Tara", "healer", "garden"}, {"Uma", "keeper", "archive"}, {"Viktor", "keeper", "square"},
	{"Wanda", "artist", "workshop"}, {"Xenia", "stargazer", "observatory"}, {"Yusuf", "merchant", "market"},
}

func idOf(name string) string { return strings.ToLower(name) }
