package customer

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
)

const (
	// changeTimeout is how long a change may take, with its repetitions.
	changeTimeout = 5 * time.Second

	// attempts is how often a change is decided anew because another came between. Each
	// waits a little longer than the one before, up to maxPause.
	attempts = 40
	maxPause = 50 * time.Millisecond
)

var (
	errNoCustomer = kgents.Errorf(kgents.CodeNotFound, "there is no such customer")
	errNoKey      = kgents.Errorf(kgents.CodeNotFound, "there is no such API key")
	errChanged    = kgents.Errorf(kgents.CodeConflict, "it has changed since: read it again and decide anew")
	errBusy       = kgents.Errorf(kgents.CodeConflict, "others change it all the time: try again")
	errTaken      = kgents.Errorf(kgents.CodeConflict, "this Stripe customer belongs to another customer")
)

// away is the error for what NATS didn't do.
func away(err error) error {
	if e, ok := errors.AsType[*kgents.Error](err); ok {
		return e
	}
	return kgents.Unavailable(2*time.Second, "customers and API keys can't be changed while NATS is away: try again", err)
}

// bucket returns the bucket, once it has been seen.
func (s *Store) bucket() (jetstream.KeyValue, error) {
	kv := s.kv.Load()
	if kv == nil || !s.config.JetStream.Conn().IsConnected() {
		return nil, away(errAway)
	}
	return *kv, nil
}

// again tells whether a change that met another is to be decided anew, and waits a
// little before that.
func again(ctx context.Context, attempt int) error {
	if attempt >= attempts {
		return errBusy
	}
	select {
	case <-time.After(rand.N(min(maxPause, time.Duration(attempt+1)*5*time.Millisecond))):
		return nil
	case <-ctx.Done():
		return away(ctx.Err())
	}
}

// met tells whether err says that another change came between.
func met(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// read returns an entry that may have been moved, from the bucket itself.
func (s *Store) read(ctx context.Context, kv jetstream.KeyValue, id string) (d document, revision uint64, err error) {
	e, err := kv.Get(ctx, kindCustomer+"."+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) && s.Known(ctx, id) { // a server that doesn't lead may be behind
		e, err = kv.Get(ctx, kindCustomer+"."+id)
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) { // deleted ones too
		return d, 0, errNoCustomer
	}
	if err != nil {
		return d, 0, away(err)
	}
	if err := json.Unmarshal(e.Value(), &d); err != nil {
		return d, 0, &kgents.Error{Code: kgents.CodeInternal, Message: "what the bucket holds of this customer can't be read", Err: err}
	}
	return d, e.Revision(), nil
}

// write writes a customer over a revision, 0 for a new one. Met tells that another change
// came between.
func (s *Store) write(ctx context.Context, kv jetstream.KeyValue, id string, d document, over uint64) (revision uint64, err error) {
	value, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	if len(value) > maxValueBytes {
		return 0, kgents.Errorf(kgents.CodeTooLarge, "a customer takes %d bytes at most with all that is known of its subscriptions", maxValueBytes)
	}
	name := kindCustomer + "." + id
	if over == 0 {
		revision, err = kv.Create(ctx, name, value)
	} else {
		revision, err = kv.Update(ctx, name, value, over)
	}
	if err == nil {
		s.put(name, revision, value)
	}
	return revision, err
}

// Create makes a customer. Its ID and Name, and optionally Stripe and Override, are
// taken from c. A Stripe customer that was found before is taken over with what is known
// of its subscriptions. The error is CodeConflict if the id or the Stripe customer is
// another customer's.
func (s *Store) Create(ctx context.Context, c Customer) (Customer, error) {
	if stripePattern.MatchString(c.ID) {
		return Customer{}, kgents.Errorf(kgents.CodeInvalid, "an id that begins with cus_ is Stripe's: choose another")
	}
	if err := first(s.check(c), s.checkOverride(c.Override)); err != nil {
		return Customer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return Customer{}, err
	}
	if c.Stripe != "" { // most conflicts are seen before anything is written
		if _, _, err := s.holder(ctx, kv, c.Stripe, c.ID); err != nil && !met(err) {
			return Customer{}, err
		}
	}
	if err := s.room(); err != nil {
		return Customer{}, err
	}
	d := document{Name: c.Name, Stripe: c.Stripe, Created: s.now().UTC(), Override: c.Override}
	revision, err := s.write(ctx, kv, c.ID, d, 0)
	switch {
	case met(err):
		return Customer{}, kgents.Errorf(kgents.CodeConflict, "there is a customer with this id already")
	case err != nil:
		return Customer{}, away(err)
	case c.Stripe == "":
		return d.customer(c.ID, revision), nil
	}
	if err := s.link(ctx, kv, c.ID, c.Stripe); err != nil {
		if !errors.Is(err, errTaken) {
			return Customer{}, err
		}
		// Nobody has heard of it yet.
		if now, at, e := s.read(ctx, kv, c.ID); e == nil && now.Created.Equal(d.Created) {
			_ = s.remove(ctx, kv, kindCustomer+"."+c.ID, at)
		}
		return Customer{}, err
	}
	d, revision, err = s.read(ctx, kv, c.ID)
	return d.customer(c.ID, revision), err
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// room is nil while there may be one more customer.
func (s *Store) room() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.mem.customers) >= MaxCustomers {
		return kgents.Errorf(kgents.CodeTooLarge, "there are %d customers, which is as many as there may be", MaxCustomers)
	}
	return nil
}

// remove deletes an entry of the bucket if it still has a revision.
func (s *Store) remove(ctx context.Context, kv jetstream.KeyValue, name string, revision uint64) error {
	err := kv.Delete(ctx, name, jetstream.LastRevision(revision))
	if err == nil {
		s.drop(name, revision)
	}
	return err
}

// Update changes a customer: change gets it as it is and alters it. Revision is what the
// decision rests on, 0 for whatever it is; with another, or if Stripe is to be another
// customer's, the error is CodeConflict. With 0 change may be called several times.
// An error of change's ends it. Created, Found and ID can't be changed.
func (s *Store) Update(ctx context.Context, id string, revision uint64, change func(*Customer) error) (Customer, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return Customer{}, err
	}
	if !ValidID(id) {
		return Customer{}, errNoCustomer
	}
	for attempt := 0; ; attempt++ {
		d, has, err := s.read(ctx, kv, id)
		if err != nil {
			return Customer{}, err
		}
		if d.Moved != "" {
			return Customer{}, errNoCustomer
		}
		if revision != 0 && revision != has {
			return Customer{}, errChanged
		}
		c := d.customer(id, has)
		if err := change(&c); err != nil {
			return Customer{}, err
		}
		c.ID, c.Created, c.Found = id, d.Created, d.Found
		if err := s.check(c); err != nil {
			return Customer{}, err
		}
		if c.Override != d.Override {
			if err := s.checkOverride(c.Override); err != nil {
				return Customer{}, err
			}
		}
		if c.Stripe != d.Stripe {
			if d.Stripe != "" {
				return Customer{}, kgents.Errorf(kgents.CodeConflict, "the customer has a Stripe customer, and what that one pays for: it can't have another")
			}
			if stripePattern.MatchString(id) {
				return Customer{}, errTaken
			}
			if _, _, err := s.holder(ctx, kv, c.Stripe, id); err != nil && !met(err) {
				return Customer{}, err
			}
		}
		if c.Found && (c.Name != d.Name || c.Override != d.Override) {
			c.Found = false // somebody has made it his business: nobody else takes it over
		}
		has, err = s.write(ctx, kv, id, documentOf(c), has)
		switch {
		case met(err) && revision != 0:
			return Customer{}, errChanged
		case met(err):
			if err := again(ctx, attempt); err != nil {
				return Customer{}, err
			}
			continue
		case err != nil:
			return Customer{}, away(err)
		case c.Stripe == d.Stripe:
			c.Revision = has
			return c, nil
		}
		if err := s.link(ctx, kv, id, c.Stripe); err != nil {
			return Customer{}, err
		}
		d, has, err = s.read(ctx, kv, id)
		return d.customer(id, has), err
	}
}

// Delete deletes a customer and its keys, which open nothing from then on, whether or
// not they could be deleted too. Revision is as in Update. What was used stays counted.
func (s *Store) Delete(ctx context.Context, id string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return err
	}
	if !ValidID(id) {
		return errNoCustomer
	}
	var d document
	for attempt := 0; ; attempt++ {
		var has uint64
		if d, has, err = s.read(ctx, kv, id); err != nil {
			return err
		}
		if revision != 0 && revision != has {
			return errChanged
		}
		err = s.remove(ctx, kv, kindCustomer+"."+id, has)
		if err == nil {
			break
		}
		if !met(err) {
			return away(err)
		}
		if revision != 0 {
			return errChanged
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
	if d.Stripe != "" {
		name := kindStripe + "." + d.Stripe
		if e, err := kv.Get(ctx, name); err == nil && string(e.Value()) == id {
			if id == d.Stripe {
				_ = s.remove(ctx, kv, name, e.Revision())
			} else if _, err := s.relink(ctx, kv, d.Stripe, formerly+id, e.Revision()); err != nil && !met(err) {
				s.config.Log.Warn("a customer was deleted, but not the link of its Stripe customer", "customer", id, "stripe", d.Stripe, "error", err)
			}
		}
	}
	for _, k := range s.keysOf(id) {
		if err := s.remove(ctx, kv, kindKey+"."+k.prefix, k.revision); err != nil {
			s.config.Log.Warn("an API key of a deleted customer is still in the bucket, where it opens nothing", "key", k.prefix, "error", err)
		}
	}
	return nil
}
