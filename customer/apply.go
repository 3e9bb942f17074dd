package customer

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/subscription"
)

// Apply adds what Stripe has told of one of its customers to the customer that it is. Ref
// is a customer's id as the event names it, empty if it names none. It counts where that
// customer is there and has no other Stripe customer, and this one isn't another's:
// else the Stripe customer becomes a customer of its own, whose id is the Stripe id. When
// one that was found that way is claimed later, by ref or by an operator, all that is
// known of it goes along. Ref doesn't count either where it is the id of the deleted
// customer that the Stripe customer was: an operator can give it to who has that id now.
//
// Applying the same again, at once from many places and in any order gives the same. The
// error is an *kgents.Error; one with CodeUnavailable or CodeConflict is worth
// repeating, and nothing is lost by that.
func (s *Store) Apply(ctx context.Context, stripe, ref string, changes []subscription.Change) error {
	if !stripePattern.MatchString(stripe) {
		return kgents.Errorf(kgents.CodeInvalid, "a Stripe customer's id is cus_ and then letters and digits")
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		err := s.apply(ctx, kv, stripe, ref, changes)
		if !met(err) {
			if err != nil {
				return away(err)
			}
			return nil
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
}

// apply is one attempt. An error that met knows is another change that came between.
func (s *Store) apply(ctx context.Context, kv jetstream.KeyValue, stripe, ref string, changes []subscription.Change) error {
	id, err := s.owner(ctx, kv, stripe, ref)
	if err != nil {
		return err
	}
	d, has, err := s.read(ctx, kv, id)
	if err != nil {
		if kgents.ErrorCode(err) == kgents.CodeNotFound { // deleted meanwhile
			return jetstream.ErrKeyRevisionMismatch
		}
		return err
	}
	if d.Moved != "" {
		return jetstream.ErrKeyRevisionMismatch
	}
	state := d.Subscriptions
	for _, c := range changes {
		state = state.Apply(c)
	}
	if reflect.DeepEqual(state, d.Subscriptions) {
		return nil
	}
	d.Subscriptions = state
	_, err = s.write(ctx, kv, id, d, has)
	return err
}

// owner returns the id of the customer that a Stripe customer is, which it makes or links
// if need be.
func (s *Store) owner(ctx context.Context, kv jetstream.KeyValue, stripe, ref string) (string, error) {
	id, at, err := s.linked(ctx, kv, stripe)
	if err != nil {
		return "", err
	}
	former, deleted := strings.CutPrefix(id, formerly)
	if id != "" && id != stripe && !deleted {
		switch d, _, err := s.read(ctx, kv, id); {
		case err == nil && d.Stripe != stripe: // the id is another's since a crash
			if !s.another(id, stripe, at) {
				return "", jetstream.ErrKeyRevisionMismatch
			}
		case err == nil:
			return id, s.adopt(ctx, kv, id, stripe, at) // what a crash may have left half done
		case kgents.ErrorCode(err) != kgents.CodeNotFound:
			return "", err
		case !s.gone(id, at):
			return "", jetstream.ErrKeyRevisionMismatch
		}
		// Its customer was deleted: the link is nobody's.
		if _, err := s.relink(ctx, kv, stripe, formerly+id, at); err != nil {
			return "", err
		}
		former, deleted = id, true
	}
	// A customer that says the Stripe customer is its own comes before what the event
	// says: a crash has kept it from being linked.
	s.mu.RLock()
	claimed := s.mem.claims[stripe]
	s.mu.RUnlock()
	if deleted && ref == former { // or another, who has got the id meanwhile
		ref = ""
	}
	for _, candidate := range []string{claimed, ref} {
		if candidate == "" || candidate == stripe || !ValidID(candidate) {
			continue
		}
		ok, err := s.claim(ctx, kv, candidate, stripe)
		if err != nil {
			return "", err
		}
		if ok {
			return candidate, nil
		}
		s.config.Log.Warn("a Stripe event names a customer that isn't there or has another Stripe customer: it counts for a customer of its own", "stripe", stripe)
	}
	return stripe, s.found(ctx, kv, stripe)
}

// claim gives a Stripe customer to the customer id, if that is there and has no other. It
// is false if it can't have it.
func (s *Store) claim(ctx context.Context, kv jetstream.KeyValue, id, stripe string) (bool, error) {
	d, has, err := s.read(ctx, kv, id)
	if kgents.ErrorCode(err) == kgents.CodeNotFound {
		if _, there := s.Get(id); there {
			return false, jetstream.ErrKeyRevisionMismatch
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if d.Moved != "" || d.Stripe != "" && d.Stripe != stripe || stripePattern.MatchString(id) {
		return false, nil
	}
	if d.Stripe == "" {
		d.Stripe = stripe
		if _, err := s.write(ctx, kv, id, d, has); err != nil {
			return false, err
		}
	}
	err = s.link(ctx, kv, id, stripe)
	if errors.Is(err, errTaken) {
		return false, nil
	}
	return err == nil, err
}

// found makes the customer of a Stripe customer that nobody claims.
func (s *Store) found(ctx context.Context, kv jetstream.KeyValue, stripe string) error {
	d, _, err := s.read(ctx, kv, stripe)
	switch {
	case kgents.ErrorCode(err) == kgents.CodeNotFound:
		if err := s.room(); err != nil {
			return err
		}
		if _, err := s.write(ctx, kv, stripe, document{Stripe: stripe, Created: s.now().UTC(), Found: true}, 0); err != nil {
			return err
		}
	case err != nil:
		return err
	case d.Moved != "":
		if err := s.stay(ctx, kv, stripe); err != nil {
			return err
		}
	}
	id, _, err := s.linked(ctx, kv, stripe)
	if err != nil || id == stripe || strings.HasPrefix(id, formerly) {
		return err
	}
	if id != "" {
		return jetstream.ErrKeyRevisionMismatch
	}
	_, err = s.relink(ctx, kv, stripe, stripe, 0)
	return err
}

// gone tells whether a customer that can't be read, and that a link of a revision has
// named, is no more. A server that doesn't lead may not have it yet: the memory must not
// know it either, and must know as much as the link.
func (s *Store) gone(id string, at uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, known := s.mem.revisions[kindCustomer+"."+id]
	return !known && s.mem.seen >= at
}

// another tells whether a customer that a link of a revision names has not the link's
// Stripe customer, by a memory that knows as much as the link. Whoever has it said so
// before it was linked.
func (s *Store) another(id, stripe string, at uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, known := s.mem.customers[id]
	return known && c.Stripe != stripe && s.mem.seen >= at
}

// stay lets a found customer be one again if who was to take it over is no more, or is
// another's by now.
func (s *Store) stay(ctx context.Context, kv jetstream.KeyValue, stripe string) error {
	d, at, err := s.read(ctx, kv, stripe)
	if err != nil || d.Moved == "" {
		return err
	}
	to, _, err := s.read(ctx, kv, d.Moved)
	switch {
	case err == nil && to.Stripe == stripe: // it is being taken over
		return jetstream.ErrKeyRevisionMismatch
	case err != nil && kgents.ErrorCode(err) != kgents.CodeNotFound:
		return err
	}
	d.Moved = ""
	_, err = s.write(ctx, kv, stripe, d, at)
	return err
}

// linked returns the customer that a Stripe customer is linked to, "" for none, and the
// revision of the link.
func (s *Store) linked(ctx context.Context, kv jetstream.KeyValue, stripe string) (string, uint64, error) {
	e, err := kv.Get(ctx, kindStripe+"."+stripe)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, away(err)
	}
	return string(e.Value()), e.Revision(), nil
}

// relink writes a link over a revision, 0 for a new one.
func (s *Store) relink(ctx context.Context, kv jetstream.KeyValue, stripe, id string, over uint64) (revision uint64, err error) {
	name := kindStripe + "." + stripe
	if over == 0 {
		revision, err = kv.Create(ctx, name, []byte(id))
	} else {
		revision, err = kv.Update(ctx, name, []byte(id), over)
	}
	if err == nil {
		s.put(name, revision, []byte(id))
	}
	return revision, err
}

// holder returns whom a Stripe customer is linked to, who is id, nobody, or somebody from
// whom id may take it. It is errTaken if another has it who keeps it.
func (s *Store) holder(ctx context.Context, kv jetstream.KeyValue, stripe, id string) (has string, at uint64, err error) {
	has, at, err = s.linked(ctx, kv, stripe)
	if err != nil || has == "" || has == id {
		return has, at, err
	}
	holds := has
	if strings.HasPrefix(has, formerly) { // then it is nobody's, or was found again
		holds = stripe
	}
	d, _, err := s.read(ctx, kv, holds)
	switch {
	case kgents.ErrorCode(err) == kgents.CodeNotFound && s.gone(holds, at):
		return has, at, nil
	case kgents.ErrorCode(err) == kgents.CodeNotFound:
		return has, 0, jetstream.ErrKeyRevisionMismatch
	case err != nil:
		return has, 0, err
	case holds == stripe && d.Found && len(s.keysOf(holds)) == 0:
		return has, at, nil
	}
	return has, 0, errTaken
}

// link makes the customer id, which says so itself by now, the one that a Stripe customer
// is. On errTaken the customer says it no more. Whoever comes second to a step finds it
// done, so that after a crash the next one goes on where it stopped.
func (s *Store) link(ctx context.Context, kv jetstream.KeyValue, id, stripe string) error {
	for attempt := 0; ; attempt++ {
		has, at, err := s.holder(ctx, kv, stripe, id)
		if errors.Is(err, errTaken) {
			return s.renounce(ctx, kv, id, stripe)
		}
		if err == nil && has != id {
			at, err = s.relink(ctx, kv, stripe, id, at)
		}
		if err == nil {
			return s.adopt(ctx, kv, id, stripe, at)
		}
		if !met(err) {
			return away(err)
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
}

// renounce takes back that id has a Stripe customer, and returns errTaken.
func (s *Store) renounce(ctx context.Context, kv jetstream.KeyValue, id, stripe string) error {
	for attempt := 0; ; attempt++ {
		d, has, err := s.read(ctx, kv, id)
		if err != nil || d.Stripe != stripe {
			return first(err, errTaken)
		}
		d.Stripe = ""
		if _, err = s.write(ctx, kv, id, d, has); err == nil {
			return errTaken
		}
		if !met(err) {
			return away(err)
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
}

// adopt moves what is known of a found customer to id, which its Stripe customer is
// linked to by a link of a revision. First nothing may be added to it any more, then it is
// copied, then deleted.
func (s *Store) adopt(ctx context.Context, kv jetstream.KeyValue, id, stripe string, at uint64) error {
	for attempt := 0; ; attempt++ {
		err := s.adoptOnce(ctx, kv, id, stripe, at)
		if !met(err) {
			if err != nil {
				return away(err)
			}
			return nil
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
}

func (s *Store) adoptOnce(ctx context.Context, kv jetstream.KeyValue, id, stripe string, link uint64) error {
	from, at, err := s.read(ctx, kv, stripe)
	if kgents.ErrorCode(err) == kgents.CodeNotFound {
		if s.gone(stripe, link) {
			return nil
		}
		return jetstream.ErrKeyRevisionMismatch
	}
	if err != nil {
		return err
	}
	if !from.Found {
		return nil
	}
	if from.Moved == "" {
		from.Moved = id
		if at, err = s.write(ctx, kv, stripe, from, at); err != nil {
			return err
		}
	}
	to, has, err := s.read(ctx, kv, id)
	if err != nil {
		return err
	}
	if all := to.Subscriptions.Merge(from.Subscriptions); !reflect.DeepEqual(all, to.Subscriptions) {
		to.Subscriptions = all
		if _, err := s.write(ctx, kv, id, to, has); err != nil {
			return err
		}
	}
	return s.remove(ctx, kv, kindCustomer+"."+stripe, at)
}
