package town

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"time"

	"github.com/kgents/kgents"
)

// MaxSnapshotBytes bounds the JSON of a town; UnmarshalJSON refuses more. The largest
// has 600 relationships of at most 8 bytes each, and 25 citizens of at most 500 bytes
// beside, which is below 20 kB.
const MaxSnapshotBytes = 32 << 10

// maxCount bounds every counter of a snapshot, so that none can overflow: a town
// that makes 100,000 tokens a second reaches it in 2,800 years.
const maxCount = 1 << 53

// maxDay is the last day that a snapshot may have.
const maxDay = 1 << 30

const snapshotVersion = 1

type snapshot struct {
	Version  int               `json:"v"`
	ID       string            `json:"id"`
	Birth    string            `json:"birth"`
	Seed     uint64            `json:"seed"`
	Created  time.Time         `json:"created"`
	Day      int               `json:"day"`
	Phase    string            `json:"phase"`
	Seq      uint64            `json:"seq"`
	Random   []byte            `json:"random"`
	Feast    bool              `json:"feast,omitempty"`
	Grief    bool              `json:"grief,omitempty"`
	Counters counters          `json:"counters"`
	Spent    spending          `json:"spent"`
	Citizens []citizenSnapshot `json:"citizens"`
}

// citizenSnapshot names what it refers to, so that it doesn't depend on the order of
// a table.
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

// MarshalJSON returns the whole town, in at most MaxSnapshotBytes.
func (t *Town) MarshalJSON() ([]byte, error) {
	random, err := t.pcg.MarshalBinary()
	if err != nil {
		return nil, err
	}
	s := snapshot{
		Version: snapshotVersion, ID: t.id, Birth: t.birth, Seed: t.seed, Created: t.created, Day: t.day, Phase: t.Phase(),
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
// the other would have. What can't be a town is an error with CodeInvalid, and t
// stays as it was.
func (t *Town) UnmarshalJSON(b []byte) error {
	if len(b) > MaxSnapshotBytes {
		return kgents.Errorf(kgents.CodeInvalid, "a town has at most %d bytes", MaxSnapshotBytes)
	}
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return &kgents.Error{Code: kgents.CodeInvalid, Message: "this is no town", Err: err}
	}
	if s.Version != snapshotVersion {
		return kgents.Errorf(kgents.CodeInvalid, "the town was written down in version %d, this program reads %d", s.Version, snapshotVersion)
	}
	fresh, err := s.town()
	if err != nil {
		return err
	}
	*t = *fresh
	t.rng = rand.New(&t.pcg)
	return nil
}

// validBirth is what birthOf can return.
var validBirth = regexp.MustCompile(`^[0-9a-z]{1,13}$`)

var validName = regexp.MustCompile(`^[A-Z][a-z]{1,20}$`)

// town checks everything that the engine relies on.
func (s *snapshot) town() (*Town, error) {
	t, err := New(s.ID, len(s.Citizens), s.Seed, s.Created)
	if err != nil {
		return nil, err
	}
	bad := func(what string) error { return kgents.Errorf(kgents.CodeInvalid, "the town's %s can't be", what) }
	if err := t.pcg.UnmarshalBinary(s.Random); err != nil {
		return nil, bad("source of random numbers")
	}
	if !validBirth.MatchString(s.Birth) {
		return nil, bad("birth")
	}
	t.phase = phaseNamed(s.Phase)
	if t.phase < 0 || s.Day < 1 || s.Day > maxDay {
		return nil, bad("calendar")
	}
	if err := s.counts(); err != nil {
		return nil, err
	}
	t.birth, t.day, t.seq, t.feast, t.grief, t.spent = s.Birth, s.Day, s.Seq, s.Feast, s.Grief, s.Spent
	if t.counters = s.Counters; t.counters.ByOperation == nil {
		t.counters.ByOperation = map[string]int64{}
	}
	names, people := map[string]bool{}, make([]int, len(t.regions))
	for i, from := range s.Citizens {
		c, err := t.citizenOf(from, i)
		if err != nil {
			return nil, err
		}
		if names[c.name] {
			return nil, bad("two citizens of one name")
		}
		names[c.name] = true
		if people[c.region]++; people[c.region] > t.regions[c.region].capacity {
			return nil, bad("crowd in one region")
		}
		t.citizens[i] = c
	}
	return t, nil
}

func (s *snapshot) counts() error {
	c := s.Counters
	all := []int64{c.Tokens, c.Interactions, c.Failed, c.Limited, c.Decided, c.Fallbacks, c.Wasted, s.Spent.Tokens}
	for op, n := range c.ByOperation {
		if _, ok := operations[op]; !ok {
			return kgents.Errorf(kgents.CodeInvalid, "the town has counted an operation that it doesn't know")
		}
		all = append(all, n)
	}
	for _, n := range all {
		if n < 0 || n > maxCount {
			return kgents.Errorf(kgents.CodeInvalid, "the town has counted what can't be")
		}
	}
	if s.Seq > maxCount {
		return kgents.Errorf(kgents.CodeInvalid, "the town has more events than can be")
	}
	if _, err := time.Parse(time.DateOnly, s.Spent.Day); err != nil && s.Spent.Day != "" {
		return kgents.Errorf(kgents.CodeInvalid, "the town's day of spending is no day")
	}
	return nil
}

func (t *Town) citizenOf(from citizenSnapshot, i int) (citizen, error) {
	c := citizen{
		id: idOf(from.Name), name: from.Name, archetype: archetypes[from.Archetype],
		home: t.regionNamed(from.Home), region: t.regionNamed(from.Region),
		state: from.State, surplus: from.Surplus, traits: from.Traits, views: from.Views,
	}
	good := validName.MatchString(c.name) && c.archetype != nil && c.home >= 0 && c.region >= 0 && len(c.views) == len(t.citizens)
	switch c.state {
	case Idle, Socializing, Working, Reflecting, Resting:
	default:
		good = false
	}
	for _, x := range []float64{c.traits.Warmth, c.traits.Curiosity, c.traits.Trust, c.traits.Creativity,
		c.traits.Patience, c.traits.Resilience, c.traits.Ambition} {
		good = good && 0 <= x && x <= 1
	}
	for j, x := range c.views {
		good = good && -1 <= x && x <= 1 && (i != j || x == 0)
	}
	if !good || c.surplus < 0 || c.surplus > maxCount {
		return citizen{}, kgents.Errorf(kgents.CodeInvalid, "citizen %d of the town can't be", i+1)
	}
	return c, nil
}

func phaseNamed(name string) int {
	for i := range phases {
		if phases[i].name == name {
			return i
		}
	}
	return -1
}
