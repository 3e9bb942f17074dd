package customer

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/subscription"
)

// CustomerView is a customer as the API shows it.
type CustomerView struct {
	ID       string                `json:"id" doc:"The subject of its usage events"`
	Name     string                `json:"name,omitempty"`
	Stripe   string                `json:"stripe_customer,omitempty" doc:"Stripe's id of it"`
	Created  time.Time             `json:"created"`
	Override string                `json:"override,omitempty" doc:"The plan that the operator has set, whatever is paid"`
	Found    bool                  `json:"found,omitempty" doc:"True of a Stripe customer that nobody has claimed yet; its id is Stripe's"`
	Revision uint64                `json:"revision" doc:"Changes with every change; what ETag has"`
	Standing subscription.Standing `json:"standing" doc:"The plan it has now"`
}

// CustomerPage is a page of customers.
type CustomerPage struct {
	Customers []CustomerView `json:"customers"`
	Next      string         `json:"next,omitempty" doc:"The next page's after; absent at the end"`
}

// NewCustomer is the body that makes a customer.
type NewCustomer struct {
	ID       string `json:"id" minLength:"1" maxLength:"63" doc:"1 to 63 letters, digits, - and _, the first a letter or a digit"`
	Name     string `json:"name,omitempty" maxLength:"200"`
	Stripe   string `json:"stripe_customer,omitempty" maxLength:"63" doc:"Stripe's id of it, cus_…; what is known of that one goes along"`
	Override string `json:"override,omitempty" maxLength:"63" doc:"A plan to have whatever is paid"`
}

// CustomerChange is the body that changes a customer. What is absent stays.
type CustomerChange struct {
	Name     *string `json:"name,omitempty" maxLength:"200"`
	Stripe   *string `json:"stripe_customer,omitempty" maxLength:"63" doc:"Once set it stays"`
	Override *string `json:"override,omitempty" maxLength:"63" doc:"A plan to have whatever is paid; empty for none"`
}

type customerOut struct {
	ETag string `header:"ETag"`
	Body CustomerView
}

// Match is the header that makes a change depend on what it was decided on.
type Match struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"The ETag that the decision rests on; with another the answer is 409"`
}

// revision is the one in an If-Match, 0 for any.
func (m Match) revision() (uint64, error) {
	if m.IfMatch == "" || m.IfMatch == "*" {
		return 0, nil
	}
	text, quoted := strings.CutPrefix(m.IfMatch, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || !quoted || !ended || n == 0 {
		return 0, kgents.Errorf(kgents.CodeInvalid, `If-Match must be an ETag as it was answered, in quotes, or *`)
	}
	return n, nil
}

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

func (s *Store) view(c Customer) CustomerView {
	return CustomerView{
		ID: c.ID, Name: c.Name, Stripe: c.Stripe, Created: c.Created, Override: c.Override, Found: c.Found, Revision: c.Revision, Standing: c.Brief(s.now(), s.catalog()),
	}
}

func (s *Store) answer(c Customer, err error) (*customerOut, error) {
	if err != nil {
		return nil, err
	}
	return &customerOut{etag(c.Revision), s.view(c)}, nil
}

// missing is the answer for what isn't in memory: err, unless it may be in the bucket.
func (s *Store) missing(err error) error {
	if s.Current() {
		return err
	}
	return kgents.Unavailable(2*time.Second, "customers and API keys can't be looked up now: try again", nil)
}

// own returns the customer that a request names, if the caller may see it.
func (s *Store) own(caller kgents.Principal, id string) (Customer, error) {
	id, err := caller.For(id)
	if err != nil {
		return Customer{}, err
	}
	c, ok := s.Get(id)
	if !ok {
		return Customer{}, s.missing(errNoCustomer)
	}
	return c, nil
}

const tagCustomers, tagKeys = "Customers", "Keys"

// OfCustomer is the path parameter of routes for one customer.
type OfCustomer struct {
	ID string `path:"id" maxLength:"63"`
}

// Register adds the routes of customers and keys.
func (s *Store) Register(a *api.API) {
	route := func(method, path string, scope kgents.Scope, id, summary string) api.Route {
		return api.Route{Method: method, Path: path, Scope: scope, Tag: tagCustomers, ID: id, Summary: summary}
	}
	operators := func(r api.Route, detail string, status int) api.Route {
		r.OperatorOnly, r.Detail, r.Status = true, detail, status
		return r
	}
	const all, one = "/v1/customers", "/v1/customers/{id}"
	api.Handle(a, operators(route(http.MethodPost, all, kgents.ScopeAdmin, "create-customer", "Make a customer"),
		"409 if the id or the Stripe customer is another customer's.", http.StatusCreated),
		func(ctx context.Context, _ kgents.Principal, in *struct{ Body NewCustomer }) (*customerOut, error) {
			return s.answer(s.Create(ctx, Customer{ID: in.Body.ID, Name: in.Body.Name, Stripe: in.Body.Stripe, Override: in.Body.Override}))
		})
	api.Handle(a, operators(route(http.MethodGet, all, kgents.ScopeRead, "list-customers", "List customers"), "In the order of their ids.", 0), s.serveList)
	api.Handle(a, route(http.MethodGet, one, kgents.ScopeRead, "get-customer", "One customer, with the plan it has now"),
		func(_ context.Context, caller kgents.Principal, in *OfCustomer) (*customerOut, error) {
			return s.answer(s.own(caller, in.ID))
		})
	api.Handle(a, operators(route(http.MethodPatch, one, kgents.ScopeAdmin, "change-customer", "Change a customer"),
		"Send the ETag that the decision rests on as If-Match: if somebody has changed the customer since, the answer is 409.", 0), s.serveChange)
	api.Handle(a, operators(route(http.MethodDelete, one, kgents.ScopeAdmin, "delete-customer", "Delete a customer and its API keys"),
		"Its keys open nothing from then on. What was used stays counted. 409 while it has a subscription, unless forced: cancel that first, or Stripe goes on to charge for it.", 0), s.serveDelete)
	api.Handle(a, route(http.MethodGet, one+"/explain", kgents.ScopeRead, "explain-customer", "Why a customer has its plan, event by event"),
		func(_ context.Context, caller kgents.Principal, in *OfCustomer) (*explainOut, error) {
			c, err := s.own(caller, in.ID)
			if err != nil {
				return nil, err
			}
			return &explainOut{c.Standing(s.now(), s.catalog())}, nil
		})
	s.registerKeys(a)
}

type explainOut struct{ Body subscription.Standing }

type listIn struct {
	After  string `query:"after" maxLength:"63" doc:"The id after which the page begins"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Stripe string `query:"stripe_customer" maxLength:"63" doc:"Only the one that this Stripe customer is"`
}

type listOut struct{ Body CustomerPage }

func (s *Store) serveList(_ context.Context, _ kgents.Principal, in *listIn) (*listOut, error) {
	out := &listOut{CustomerPage{Customers: []CustomerView{}}}
	if !s.Current() {
		return nil, s.missing(nil)
	}
	if in.Stripe != "" {
		if c, ok := s.ByStripe(in.Stripe); ok {
			out.Body.Customers = append(out.Body.Customers, s.view(c))
		}
		return out, nil
	}
	for _, c := range s.List(in.After, in.Limit+1) {
		if len(out.Body.Customers) == in.Limit {
			out.Body.Next = out.Body.Customers[in.Limit-1].ID
			break
		}
		out.Body.Customers = append(out.Body.Customers, s.view(c))
	}
	return out, nil
}

func (s *Store) serveChange(ctx context.Context, _ kgents.Principal, in *struct {
	OfCustomer
	Match
	Body CustomerChange
},
) (*customerOut, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return s.answer(s.Update(ctx, in.ID, revision, func(c *Customer) error {
		for to, from := range map[*string]*string{&c.Name: in.Body.Name, &c.Stripe: in.Body.Stripe, &c.Override: in.Body.Override} {
			if from != nil {
				*to = *from
			}
		}
		return nil
	}))
}

// paying are the states of a subscription that Stripe may charge for.
var paying = []string{
	subscription.StatusTrialing, subscription.StatusActive, subscription.StatusPastDue, subscription.StatusUnpaid, subscription.StatusPaused,
}

func (s *Store) serveDelete(ctx context.Context, _ kgents.Principal, in *struct {
	OfCustomer
	Match
	Force bool `query:"force" doc:"Delete it though it has a subscription"`
},
) (*struct{}, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	if c, ok := s.Get(in.ID); ok && !in.Force {
		if st := c.Brief(s.now(), s.catalog()); st.Subscription != "" && slices.Contains(paying, st.Status) {
			return nil, kgents.Errorf(kgents.CodeConflict, "the customer has a subscription, which is %s: cancel it first, or force it", st.Status)
		}
	}
	return nil, s.Delete(ctx, in.ID, revision)
}
