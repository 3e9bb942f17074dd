package customer

import (
	"testing"
	"time"
)

// TestOwnWritesComeLate: what this replica has written itself, and the watch has brought
// before with what came after it, doesn't bring a deleted customer back.
func TestOwnWritesComeLate(t *testing.T) {
	value := []byte(`{"created":"2026-11-23T09:30:00Z"}`)
	at := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	const name = "customer.acme"
	for _, test := range []struct {
		what  string
		do    func(s *Store)
		there bool
	}{
		{"written, then brought", func(s *Store) { s.put(name, 10, value); bring(s, name, 10, value) }, true},
		{"brought, then written", func(s *Store) { bring(s, name, 10, value); s.put(name, 10, value) }, true},
		{"deleted by another before it was noted", func(s *Store) {
			bring(s, name, 10, value)
			bring(s, name, 11, nil)
			s.put(name, 10, value)
		}, false},
		{"deleted here, then brought", func(s *Store) {
			s.put(name, 10, value)
			s.drop(name, 10)
			bring(s, name, 10, value)
		}, false},
		{"made again after a deletion that was brought before it was noted", func(s *Store) {
			bring(s, name, 10, value)
			bring(s, name, 11, nil)
			s.drop(name, 10)
			bring(s, name, 12, value)
		}, true},
		{"an older one that is brought after a newer was written", func(s *Store) {
			s.put(name, 12, value)
			bring(s, name, 11, nil)
		}, true},
	} {
		s := &Store{mem: newMemory()}
		test.do(s)
		c, there := s.Get("acme")
		if there != test.there || there && !c.Created.Equal(at) {
			t.Errorf("%s: there is %v %+v, want %v", test.what, there, c, test.there)
		}
	}
}

// bring is what the watch does, with a nil value for a deletion.
func bring(s *Store, name string, revision uint64, value []byte) {
	s.mem.seen = revision
	if value == nil {
		s.mem.drop(name, revision, false)
		return
	}
	s.mem.put(name, revision, value)
}
