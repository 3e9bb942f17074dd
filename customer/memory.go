package customer

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/subscription"
)

// Names of the bucket's entries: these, a dot, and an id.
const (
	kindCustomer = "customer"
	kindStripe   = "stripe" // the id of the customer that a Stripe customer is; after formerly, that it was
	kindKey      = "key"
	kindUse      = "use" // when a key was used last, Unix seconds
)

// formerly stands before the id of a deleted customer in the link of its Stripe customer.
// What Stripe tells later names that id still, and a customer that has got it meanwhile
// must not get the Stripe customer, with its cards and invoices. No id has it.
const formerly = "="

// document is a customer as the bucket has it.
type document struct {
	Name          string             `json:"name,omitempty"`
	Stripe        string             `json:"stripe,omitempty"`
	Created       time.Time          `json:"created"`
	Override      string             `json:"override,omitempty"`
	Found         bool               `json:"found,omitempty"`
	Subscriptions subscription.State `json:"subscriptions,omitzero"`

	// Moved is who has taken over a found customer. Nothing may be written to it any
	// more: it is about to be deleted.
	Moved string `json:"moved,omitempty"`
}

func (d document) customer(id string, revision uint64) Customer {
	return Customer{
		ID: id, Name: d.Name, Stripe: d.Stripe, Created: d.Created, Override: d.Override, Found: d.Found,
		Subscriptions: d.Subscriptions, Revision: revision,
	}
}

func documentOf(c Customer) document {
	return document{
		Name: c.Name, Stripe: c.Stripe, Created: c.Created, Override: c.Override, Found: c.Found, Subscriptions: c.Subscriptions,
	}
}

// memory is what the bucket holds, in maps. It is not safe for concurrent use.
type memory struct {
	customers map[string]Customer
	links     map[string]string // Stripe customer to customer, as the bucket's entries say
	claims    map[string]string // the same, as customers say
	keys      map[string]*key
	owned     map[string]map[string]*key // keys by customer
	uses      map[string]int64           // by prefix

	// revisions are those of all entries, by name. An entry that was deleted here has
	// the revision that was deleted, until the watch brings the deletion.
	revisions map[string]uint64

	// seen is the revision up to which the watch has brought every change.
	seen uint64

	order []string // customers' ids, sorted; nil when it has to be made again
}

func newMemory() *memory {
	return &memory{
		customers: map[string]Customer{}, links: map[string]string{}, claims: map[string]string{}, keys: map[string]*key{},
		owned: map[string]map[string]*key{}, uses: map[string]int64{}, revisions: map[string]uint64{},
	}
}

// put takes one entry of the bucket, unless a newer one of its name is here. It returns
// the customer that has changed, if one has; bad tells that the entry makes no sense.
func (m *memory) put(name string, revision uint64, value []byte) (changed *Customer, bad bool) {
	if revision <= m.revisions[name] {
		return nil, false
	}
	kind, id, _ := strings.Cut(name, ".")
	switch kind {
	case kindCustomer:
		var d document
		if json.Unmarshal(value, &d) != nil || !ValidID(id) || d.Created.IsZero() {
			return nil, true
		}
		m.revisions[name] = revision
		if d.Moved != "" {
			return m.dropCustomer(id, revision), false
		}
		c := d.customer(id, revision)
		old, known := m.customers[id]
		if !known {
			m.order = nil
		}
		if old.Stripe != c.Stripe && m.claims[old.Stripe] == id {
			delete(m.claims, old.Stripe)
		}
		if c.Stripe != "" && (!c.Found || m.claims[c.Stripe] == "") { // who claims comes before what was found
			m.claims[c.Stripe] = id
		}
		m.customers[id] = c
		return &c, false
	case kindStripe:
		m.links[id] = string(value)
	case kindKey:
		k, err := readKey(id, revision, value)
		if err != nil { // and opens nothing
			m.drop(name, revision, true)
			return nil, true
		}
		if old := m.keys[id]; old != nil {
			k.used.Store(old.used.Load())
			delete(m.owned[old.Customer], id)
		}
		m.keys[id] = k
		if m.owned[k.Customer] == nil {
			m.owned[k.Customer] = map[string]*key{}
		}
		m.owned[k.Customer][id] = k
	case kindUse:
		m.uses[id] = parseUse(value)
	}
	m.revisions[name] = revision
	return nil, false
}

// drop takes the deletion of an entry. Known is the revision of the deletion, or, of one
// made here, of what was deleted.
func (m *memory) drop(name string, known uint64, here bool) (changed *Customer) {
	has, there := m.revisions[name]
	if known < has || here && !there { // the watch was faster, or is yet to bring it
		return nil
	}
	if here {
		m.revisions[name] = known
	} else {
		delete(m.revisions, name)
	}
	kind, id, _ := strings.Cut(name, ".")
	switch kind {
	case kindCustomer:
		return m.dropCustomer(id, known)
	case kindStripe:
		delete(m.links, id)
	case kindKey:
		if k := m.keys[id]; k != nil {
			delete(m.keys, id)
			delete(m.owned[k.Customer], id)
			if len(m.owned[k.Customer]) == 0 {
				delete(m.owned, k.Customer)
			}
		}
	case kindUse:
		delete(m.uses, id)
	}
	return nil
}

func (m *memory) dropCustomer(id string, revision uint64) *Customer {
	old, known := m.customers[id]
	if !known {
		return nil
	}
	if m.claims[old.Stripe] == id {
		delete(m.claims, old.Stripe)
	}
	delete(m.customers, id)
	m.order = nil
	return &Customer{ID: id, Revision: revision}
}

// byStripe returns whose Stripe customer it is.
func (m *memory) byStripe(stripe string) (Customer, bool) {
	if stripe == "" {
		return Customer{}, false
	}
	if c, ok := m.customers[m.links[stripe]]; ok && c.Stripe == stripe {
		return c, true
	}
	c, ok := m.customers[m.claims[stripe]]
	return c, ok
}

// list returns the customers after an id, in the order of ids.
func (m *memory) list(after string, limit int) []Customer {
	if m.order == nil {
		m.order = slices.Sorted(maps.Keys(m.customers))
	}
	from, exact := slices.BinarySearch(m.order, after)
	if exact {
		from++
	}
	ids := m.order[from:min(len(m.order), from+max(0, limit))]
	out := make([]Customer, 0, len(ids))
	for _, id := range ids {
		out = append(out, m.customers[id])
	}
	return out
}

// changedSince lists the customers that differ from those of old.
func (m *memory) changedSince(old *memory) (changed []Customer) {
	for id, c := range m.customers {
		if was, ok := old.customers[id]; !ok || was.Revision != c.Revision || !was.Created.Equal(c.Created) {
			changed = append(changed, c)
		}
	}
	for id, was := range old.customers {
		if _, ok := m.customers[id]; !ok {
			changed = append(changed, Customer{ID: id, Revision: was.Revision})
		}
	}
	return changed
}
