package town

import "github.com/kgents/kgents"

// MaxDetail is the highest level of detail of a View.
const MaxDetail = 5

// View is a citizen as somebody sees it who looks that closely. Each level adds to
// the ones below; members of higher levels are left out.
type View struct {
	LOD int `json:"lod"`

	// 0
	Name   string `json:"name"`
	Region string `json:"region"`
	Phase  string `json:"phase"`

	// 1
	Archetype string `json:"archetype,omitempty"`
	Mood      string `json:"mood,omitempty"`

	// 2
	Philosophy string `json:"philosophy,omitempty"`
	Metaphor   string `json:"metaphor,omitempty"`

	// 3
	Traits        *Traits            `json:"traits,omitempty"`
	Relationships map[string]float64 `json:"relationships,omitempty"` // by name; who isn't named is a stranger

	// 4
	Surplus *float64 `json:"surplus,omitempty"`
	ID      string   `json:"id,omitempty"`

	// 5
	Opaque string `json:"opaque,omitempty"`
}

// View returns the citizen of that name or id at a level of detail from 0 to
// MaxDetail. The error has CodeNotFound or CodeInvalid.
func (t *Town) View(name string, lod int) (View, error) {
	if lod < 0 || lod > MaxDetail {
		return View{}, kgents.Errorf(kgents.CodeInvalid, "the level of detail is 0 to %d", MaxDetail)
	}
	for i := range t.citizens {
		if c := &t.citizens[i]; c.name == name || c.id == name {
			return t.view(i, lod), nil
		}
	}
	return View{}, kgents.Errorf(kgents.CodeNotFound, "no citizen of this town has that name")
}

func (t *Town) view(i, lod int) View {
	c := &t.citizens[i]
	v := View{LOD: lod, Name: c.name, Region: t.regions[c.region].name, Phase: t.Phase()}
	if lod >= 1 {
		v.Archetype, v.Mood = c.archetype.name, t.mood(i)
	}
	if lod >= 2 {
		v.Philosophy, v.Metaphor = c.archetype.philosophy, c.archetype.metaphor
	}
	if lod >= 3 {
		traits := c.traits
		v.Traits, v.Relationships = &traits, map[string]float64{}
		for j, w := range c.views {
			if w != 0 {
				v.Relationships[t.citizens[j].name] = w
			}
		}
	}
	if lod >= 4 {
		surplus := c.surplus
		v.Surplus, v.ID = &surplus, c.id
	}
	if lod >= 5 {
		v.Opaque = opaque(c)
	}
	return v
}

// Place is a region with who is in it.
type Place struct {
	Name     string   `json:"name"`
	Capacity int      `json:"capacity"`
	Citizens []string `json:"citizens"`
	Resting  []string `json:"resting"` // those of Citizens who rest
}

// Places are the town's regions, in an order that stays.
func (t *Town) Places() []Place {
	out := make([]Place, len(t.regions))
	for i, r := range t.regions {
		out[i] = Place{Name: r.name, Capacity: r.capacity, Citizens: []string{}, Resting: []string{}}
	}
	for _, c := range t.citizens {
		p := &out[c.region]
		p.Citizens = append(p.Citizens, c.name)
		if c.state == Resting {
			p.Resting = append(p.Resting, c.name)
		}
	}
	return out
}

// Names are the citizens' names, in an order that stays.
func (t *Town) Names() []string {
	out := make([]string, len(t.citizens))
	for i, c := range t.citizens {
		out[i] = c.name
	}
	return out
}

// Metrics are a town's figures since it was founded.
type Metrics struct {
	Town     string `json:"town"`
	Citizens int    `json:"citizens"`
	Awake    int    `json:"awake"`
	Day      int    `json:"day"`
	Phase    string `json:"phase"`
	Events   uint64 `json:"events"`

	Tension     float64 `json:"tension"`     // the variance of relationship weights
	Cooperation float64 `json:"cooperation"` // the sum of the positive ones
	Surplus     float64 `json:"surplus"`     // the sum over citizens

	counters
}

// counters are sums since the town was founded.
type counters struct {
	Tokens       int64            `json:"tokens"`       // metered
	Interactions int64            `json:"interactions"` // that succeeded
	ByOperation  map[string]int64 `json:"by_operation"` // of those
	Failed       int64            `json:"failed"`       // a precondition didn't hold
	Limited      int64            `json:"limited"`      // the Gate refused
	Decided      int64            `json:"decided"`      // of the interactions, by a model
	Fallbacks    int64            `json:"fallbacks"`    // by rules because the model failed
	Wasted       int64            `json:"wasted"`       // tokens of the model that nobody is billed for
}

// Metrics returns the town's figures.
func (t *Town) Metrics() Metrics {
	m := Metrics{Town: t.id, Citizens: len(t.citizens), Day: t.day, Phase: t.Phase(), Events: t.seq, counters: t.counters}
	m.ByOperation = map[string]int64{}
	for op, n := range t.counters.ByOperation {
		m.ByOperation[op] = n
	}
	for _, c := range t.citizens {
		m.Surplus += c.surplus
		if c.state != Resting {
			m.Awake++
		}
	}
	m.Tension, m.Cooperation = t.climate()
	return m
}

// climate returns tension and cooperation.
func (t *Town) climate() (tension, cooperation float64) {
	n := float64(len(t.citizens) * (len(t.citizens) - 1))
	var sum float64
	for i, c := range t.citizens {
		for j, w := range c.views {
			if i != j {
				sum += w
				cooperation += max(w, 0)
			}
		}
	}
	mean := sum / n
	for i, c := range t.citizens {
		for j, w := range c.views {
			if i != j {
				tension += float64((w - mean) * (w - mean))
			}
		}
	}
	return tension / n, cooperation
}

// mood is a word for how citizen i feels: by what the others think of it.
func (t *Town) mood(i int) string {
	if t.citizens[i].state == Resting {
		return "at rest"
	}
	var sum float64
	for _, c := range t.citizens {
		sum += c.views[i]
	}
	switch mean := sum / float64(len(t.citizens)-1); {
	case mean >= .5:
		return "cheerful"
	case mean >= .1:
		return "content"
	case mean > -.1:
		return "calm"
	case mean > -.4:
		return "uneasy"
	default:
		return "lonely"
	}
}

func opaque(c *citizen) string {
	return "What " + c.name + " is to itself can't be read from here: these numbers say how it acts, not what it is like to be it."
}
