// Package town simulates Agent Town: a small society of citizens whose
// interactions cost tokens, and so are what its operator bills for.
//
// It promises three things. A town is deterministic: the same id, size, seed and
// answers of its Decider and Gate give the same events, on every machine, also
// when it was written down and read back in between; a Town marshals to JSON whole,
// its random numbers included. Every interaction is metered so that sums agree: the
// tokens of an event are the sum over its shares, one for each citizen that took
// part. And nothing is spent for what didn't happen: preconditions are checked
// before tokens are spent, and an event that failed costs nothing.
//
// It does no input or output and keeps no clock, so there is nothing that could be
// away. What asks the network stands behind two interfaces: a Decider may ask a
// language model, and when it fails the citizen acts by rules; a Gate tells whether
// the customer may spend more, and when it refuses, the town tells why and lives on
// without spending.
//
// A Town is not safe for concurrent use. It is bounded: at most 25 citizens, whose
// snapshot has at most MaxSnapshotBytes; a step makes at most MaxStepEvents events.
package town

import (
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/kgents/kgents"
)

// MaxIDBytes bounds the id of a town: it is part of keys and of every event's id.
const MaxIDBytes = 31

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// CheckID returns an error with CodeInvalid for what can't be the id of a town.
func CheckID(id string) error {
	if !validID.MatchString(id) {
		return kgents.Errorf(kgents.CodeInvalid,
			"the id of a town has 1 to %d lower-case letters, digits and dashes, and begins with a letter or digit", MaxIDBytes)
	}
	return nil
}

// Town is one town at a moment: the beginning of a phase of a day.
type Town struct {
	id      string
	birth   string // tells this town from another one that has had its id
	seed    uint64
	created time.Time
	day     int // from 1
	phase   int // index into phases
	seq     uint64
	pcg     rand.PCG
	rng     *rand.Rand // reads pcg; has no state of its own

	regions  []region
	citizens []citizen

	feast    bool // a surplus was spent: a celebration is due
	grief    bool // a strong word fell: a mourning is due
	counters counters
	spent    spending
}

// region is a place; capacity bounds how many citizens may be in it at once.
type region struct {
	name     string
	capacity int
}

type citizen struct {
	id, name  string
	archetype *archetype
	home      int // index into regions
	region    int
	state     State
	surplus   float64
	traits    Traits
	views     []float64 // of every citizen, in [-1, 1]; 0 of oneself
}

// New founds a town of 3, 7, 10 or 25 citizens on the morning of its first day. The
// id must pass CheckID; created is the wall time, by which the town is told from an
// earlier one of the same id. The error has CodeInvalid.
func New(id string, citizens int, seed uint64, created time.Time) (*Town, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	regions, ok := places[citizens]
	if !ok {
		return nil, kgents.Errorf(kgents.CodeInvalid, "a town has 3, 7, 10 or 25 citizens, not %d", citizens)
	}
	created = created.UTC()
	if y := created.Year(); y < 1970 || y >= 2200 {
		return nil, kgents.Errorf(kgents.CodeInvalid, "a town is founded between 1970 and 2199")
	}
	t := &Town{id: id, seed: seed, created: created, birth: birthOf(seed, created), day: 1, regions: regions}
	t.pcg.Seed(seed, uint64(citizens))
	t.rng = rand.New(&t.pcg)
	for _, p := range cast[:citizens] {
		a := archetypes[p.archetype]
		home := t.regionNamed(p.home)
		t.citizens = append(t.citizens, citizen{
			id: idOf(p.name), name: p.name, archetype: a, home: home, region: home, state: Idle,
			traits: a.traits, views: make([]float64, citizens),
		})
	}
	t.counters.ByOperation = map[string]int64{}
	return t, nil
}

// birthOf is 64 bits of the seed and the moment of founding, so that a town founded
// under the id of a deleted one has other event ids, and its usage counts.
func birthOf(seed uint64, created time.Time) string {
	h := fnv.New64a()
	h.Write(strconv.AppendUint(nil, seed, 36))
	h.Write([]byte{' '})
	h.Write(strconv.AppendInt(nil, created.UnixNano(), 36))
	return strconv.FormatUint(h.Sum64(), 36)
}

func (t *Town) regionNamed(name string) int {
	return slices.IndexFunc(t.regions, func(r region) bool { return r.name == name })
}

// ID is the town's id, as New was given it.
func (t *Town) ID() string { return t.id }

// Size is the number of its citizens.
func (t *Town) Size() int { return len(t.citizens) }

// Created is when it was founded, in UTC.
func (t *Town) Created() time.Time { return t.created }

// Seq is the sequence number of its last event, 0 before the first.
func (t *Town) Seq() uint64 { return t.seq }

// Day is the day of the town's own calendar, from 1, and Phase the part of it that
// the next step lives through.
func (t *Town) Day() int { return t.day }

// Phase is the name of the phase that comes next.
func (t *Town) Phase() string { return phases[t.phase].name }
