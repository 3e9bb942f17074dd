package town

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/kgents/kgents"
)

// MaxSnapshotBytes bounds the JSON of a town. One of 25 citizens has 600
// relationships of at most 8 bytes each, and some 200 bytes for each citizen more.
const MaxSnapshotBytes = 32 << 10

const snapshotVersion = 1

type snapshot struct {
	Version  int               `json:"v"`
	ID       string            `json:"id"`
	Birth    string            `json:"birth"`
	Seed     uint64            `json:"seed"`
	Created  time.Time         `json:"created"`
	Day      int               `json:"day"`
	Phase    int               `json:"phase"`
	Seq      uint64            `json:"seq"`
	Random   []byte            `json:"random"`
	Feast    bool              `json:"feast,omitempty"`
	Grief    bool              `json:"grief,omitempty"`
	Counters counters          `json:"counters"`
	Spent    spending          `json:"spent"`
	Citizens []citizenSnapshot `json:"citizens"`
}

type citizenSnapshot struct {
	Name      string    `json:"name"`
	Archetype string    `json:"archetype"`
	Home      string    `json:"home"`
	Region    string    `json:"region"`
	State     State     `json:"state"`
	Surplus   float64   `json:"surplus"`
	Traits    Traits    `json:"traits"`
	Views     []float64 `json:"views"`
}

// MarshalJSON returns the whole town.
func (t *Town) MarshalJSON() ([]byte, error) {
	random, err := t.pcg.MarshalBinary()
	if err != nil {
		return nil, err
	}
	s := snapshot{
		Version: snapshotVersion, ID: t.id, Birth: t.birth, Seed: t.seed, Created: t.created, Day: t.day, Phase: t.phase,
		Seq: t.seq, Random: random, Feast: t.feast, Grief: t.grief, Counters: t.counters, Spent: t.spent,
	}
	for _, c := range t.citizens {
		s.Citizens = append(s.Citizens, citizenSnapshot{
			c.name, c.archetype.name, t.regions[c.home].name, t.regions[c.region].name, c.state, c.surplus, c.traits, c.views,
		})
	}
	return json.Marshal(s)
}

// UnmarshalJSON makes t the town that MarshalJSON wrote down, which goes on just as
// the other would have. What isn't a town is an error with CodeInvalid, and t stays
// as it was.
func (t *Town) UnmarshalJSON(b []byte) error {
	if len(b) > MaxSnapshotBytes {
		return kgents.Errorf(kgents.CodeInvalid, "a town has at most %d bytes", MaxSnapshotBytes)
	}
	var s snapshot
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&s); err != nil {
		return &kgents.Error{Code: kgents.CodeInvalid, Message: "this is no town", Err: err}
	}
	fresh, err := s.town()
	if err != nil {
		return err
	}
	*t = *fresh
	t.rng = rand.New(&t.pcg)
	return nil
}

func (s *snapshot) town() (*Town, error) {
	t, err := New(s.ID, len(s.Citizens), s.Seed, s.Created)
	if err != nil {
		return nil, err
	}
	if err := t.pcg.UnmarshalBinary(s.Random); err != nil {
		return nil, &kgents.Error{Code: kgents.CodeInvalid, Message: "the town's random numbers can't be read", Err: err}
	}
	if s.Version != snapshotVersion || s.Day < 1 || s.Phase < 0 || s.Phase >= len(phases) {
		return nil, kgents.Errorf(kgents.CodeInvalid, "the town's calendar can't be read")
	}
	t.birth, t.day, t.phase, t.seq, t.feast, t.grief, t.spent = s.Birth, s.Day, s.Phase, s.Seq, s.Feast, s.Grief, s.Spent
	if t.counters = s.Counters; t.counters.ByOperation == nil {
		t.counters.ByOperation = map[string]int64{}
	}
	for i, from := range s.Citizens {
		c := &t.citizens[i]
		a, home, region := archetypes[from.Archetype], t.regionNamed(from.Home), t.regionNamed(from.Region)
		if a == nil || home < 0 || region < 0 || len(from.Views) != len(t.citizens) {
			return nil, kgents.Errorf(kgents.CodeInvalid, "citizen %d of the town can't be read", i)
		}
		c.id, c.name, c.archetype, c.home, c.region = idOf(from.Name), from.Name, a, home, region
		c.state, c.surplus, c.traits, c.views = from.State, from.Surplus, from.Traits, from.Views
	}
	return t, nil
}
