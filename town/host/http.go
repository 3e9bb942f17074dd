package host

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/town"
)

const tag = "Agent Town"

// Whose is the customer that a request is about.
type Whose struct {
	Customer string `query:"customer" maxLength:"63" doc:"Whose towns. An operator's key has to name it, but for a list of all; a customer's key needn't."`
}

// Path is the town that a request is about.
type Path struct {
	Whose
	ID string `path:"id" maxLength:"64" doc:"The town's id"`
}

type (
	oneTown struct{ Body Town }

	// Level is how closely a request looks.
	Level struct {
		LOD int `query:"lod" minimum:"0" maximum:"5" default:"1" doc:"Level of detail: 0 name, region, phase; 1 archetype, mood; 2 philosophy, metaphor; 3 traits, relationships; 4 surplus, id; 5 what remains opaque"`
	}
	townsOut struct {
		Body struct {
			Towns []Town `json:"towns" doc:"The oldest first; of all customers, those of one after those of another"`
			Next  string `json:"next,omitempty" doc:"What to send as after for the next page; absent on the last"`
		}
	}
	citizensOut struct {
		Body struct {
			Citizens []town.View `json:"citizens"`
		}
	}
	citizenOut struct{ Body town.View }
	steppedOut struct{ Body Stepped }
	metricsOut struct{ Body Figures }
)

// Figures are a town's metrics.
type Figures struct {
	Town         string           `json:"town" doc:"Its id"`
	Citizens     int              `json:"citizens" doc:"How many live in it"`
	Awake        int              `json:"awake" doc:"How many of them are awake"`
	Day          int              `json:"day" doc:"The day of its calendar"`
	Phase        string           `json:"phase" doc:"The phase that comes next"`
	Events       uint64           `json:"events" doc:"Everything that happened or failed to"`
	Interactions int64            `json:"interactions" doc:"That succeeded; each was metered once"`
	ByOperation  map[string]int64 `json:"by_operation" doc:"Interactions by operation"`
	Tokens       int64            `json:"tokens" doc:"Metered"`
	Failed       int64            `json:"failed" doc:"A precondition didn't hold: free"`
	Limited      int64            `json:"limited" doc:"The plan didn't allow it: free"`
	Decided      int64            `json:"decided" doc:"Interactions that a language model decided"`
	Fallbacks    int64            `json:"fallbacks" doc:"Decisions by rules because the model failed"`
	Wasted       int64            `json:"wasted" doc:"Tokens of the model that nobody is billed for"`
	Tension      float64          `json:"tension" doc:"Variance of what citizens think of each other"`
	Cooperation  float64          `json:"cooperation" doc:"Sum of what they think well of each other"`
	Surplus      float64          `json:"surplus" doc:"Sum over citizens"`
}

// pageTowns is the most towns in one answer, pageEvents the most events.
const (
	pageTowns  = 100
	pageEvents = 1_000
)

// Register adds the routes under /v1/town.
func (h *Host) Register(a *api.API) {
	route := func(method, path string, scope kgents.Scope, id, summary, detail string) api.Route {
		return api.Route{Method: method, Path: "/v1/town" + path, Scope: scope, Tag: tag, ID: id, Summary: summary, Detail: detail}
	}
	found := route(http.MethodPost, "", kgents.ScopeIngest, "create-town", "Found a town",
		"Of 3, 7, 10 or 25 citizens, if the plan allows one more of that size; 402 if it doesn't, with the plans that would. With `pace` it lives by itself.")
	found.Status = http.StatusCreated
	api.Handle(a, found, func(ctx context.Context, caller kgents.Principal, in *struct {
		Whose
		Body struct {
			Name     string  `json:"name,omitempty" maxLength:"80" doc:"A name for people"`
			Citizens int     `json:"citizens,omitempty" enum:"3,7,10,25" default:"3" doc:"How many live in it"`
			Seed     string  `json:"seed,omitempty" pattern:"^[0-9]{1,20}$" doc:"A number of 64 bits, seed of its random numbers: the same seed makes the same town live the same days. Absent: any."`
			Model    bool    `json:"model,omitempty" doc:"Let a language model decide, if the operator has one"`
			Pace     float64 `json:"pace,omitempty" minimum:"0" maximum:"86400" doc:"Seconds from phase to phase when it lives by itself, at least 1; 0: only when told"`
		}
	}) (*oneTown, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		if err := h.often.Allow(caller); err != nil {
			return nil, err
		}
		b := in.Body
		var seed uint64
		if b.Seed != "" {
			if seed, err = strconv.ParseUint(b.Seed, 10, 64); err != nil {
				return nil, kgents.Errorf(kgents.CodeInvalid, "a seed is a number below 2^64")
			}
		}
		t, err := h.Found(ctx, customer, Wish{Name: b.Name, Citizens: b.Citizens, Seed: seed, Model: b.Model, Pace: seconds(b.Pace)})
		return &oneTown{t}, err
	})
	api.Handle(a, route(http.MethodGet, "", kgents.ScopeRead, "list-towns", "The customer's towns",
		"With an operator's key and without a customer, those of all customers, by customer."), func(ctx context.Context, caller kgents.Principal, in *struct {
		Whose
		After string `query:"after" maxLength:"128" doc:"The next of the page before"`
		Limit int    `query:"limit" minimum:"1" maximum:"100" default:"100" doc:"Most towns in the answer"`
	}) (*townsOut, error) {
		out := &townsOut{}
		if caller.Operator() && in.Customer == "" {
			var err error
			out.Body.Towns, out.Body.Next, err = h.ListAll(ctx, in.After, min(in.Limit, pageTowns))
			return out, err
		}
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		out.Body.Towns, err = h.List(ctx, customer, in.After, min(in.Limit, pageTowns))
		if n := len(out.Body.Towns); n == in.Limit {
			out.Body.Next = out.Body.Towns[n-1].ID
		}
		return out, err
	})
	api.Handle(a, route(http.MethodGet, "/{id}", kgents.ScopeRead, "get-town", "One town", ""), func(ctx context.Context, caller kgents.Principal, in *Path) (*oneTown, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		t, err := h.Get(ctx, customer, in.ID)
		return &oneTown{t}, err
	})
	api.Handle(a, route(http.MethodPatch, "/{id}", kgents.ScopeIngest, "pace-town", "Let a town live by itself, or no more", ""), func(ctx context.Context, caller kgents.Principal, in *struct {
		Path
		Body struct {
			Pace float64 `json:"pace" minimum:"0" maximum:"86400" doc:"Seconds from phase to phase, at least 1; 0: only when told"`
		}
	}) (*oneTown, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		t, err := h.SetPace(ctx, customer, in.ID, seconds(in.Body.Pace))
		return &oneTown{t}, err
	})
	api.Handle(a, route(http.MethodDelete, "/{id}", kgents.ScopeIngest, "delete-town", "End a town",
		"With its history. What it used stays counted, and is billed."), func(ctx context.Context, caller kgents.Principal, in *Path) (*struct{}, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		return nil, h.Delete(ctx, customer, in.ID)
	})
	api.Handle(a, route(http.MethodGet, "/{id}/citizens", kgents.ScopeRead, "list-citizens", "Who lives in a town", ""), func(ctx context.Context, caller kgents.Principal, in *struct {
		Path
		Level
	}) (*citizensOut, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		out := &citizensOut{}
		out.Body.Citizens, err = h.Citizens(ctx, customer, in.ID, in.LOD)
		return out, err
	})
	api.Handle(a, route(http.MethodGet, "/{id}/citizens/{name}", kgents.ScopeRead, "get-citizen", "One citizen, as closely as one looks", ""), func(ctx context.Context, caller kgents.Principal, in *struct {
		Path
		Level
		Name string `path:"name" maxLength:"64" doc:"The citizen's name or id"`
	}) (*citizenOut, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		v, err := h.Citizen(ctx, customer, in.ID, in.Name, in.LOD)
		return &citizenOut{v}, err
	})
	api.Handle(a, route(http.MethodPost, "/{id}/step", kgents.ScopeIngest, "step-town", "Let a town live on",
		"For 1 to 100 phases of its day. Everything that it used is durable when this answers 200. After 503 the town may have lived: look at it before you go on. Over the plan's limit it lives on without spending, and `limited` tells why."), func(ctx context.Context, caller kgents.Principal, in *struct {
		Path
		Cycles int `query:"cycles" minimum:"1" maximum:"100" default:"1" doc:"Phases of the day"`
	}) (*steppedOut, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		s, err := h.Step(ctx, customer, in.ID, in.Cycles)
		if err != nil {
			return nil, err
		}
		return &steppedOut{s}, nil
	})
	api.Handle(a, route(http.MethodGet, "/{id}/metrics", kgents.ScopeRead, "town-metrics", "A town's figures", ""), func(ctx context.Context, caller kgents.Principal, in *Path) (*metricsOut, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		m, err := h.Metrics(ctx, customer, in.ID)
		if err != nil {
			return nil, err
		}
		return &metricsOut{figures(m)}, nil
	})
	events := route(http.MethodGet, "/{id}/events", kgents.ScopeRead, "town-events", "What happened in a town",
		"With `Accept: text/event-stream` a stream that stays open: each event has its number as id, and `Last-Event-ID` goes on behind one. Else a page of JSON. History is kept for 30 days.")
	api.Stream(a, events, eventStream, h.serveEvents)
	if op := a.Document().Paths["/v1/town/{id}/events"]; op != nil && op.Get != nil {
		op.Get.Responses["200"].Content["application/json"] = &huma.MediaType{
			Schema: a.Document().Components.Schemas.Schema(eventsType, true, "TownEvents"),
		}
	}
}

// seconds is a number of seconds from a client, exact to the millisecond.
func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s*1000)) * time.Millisecond
}

func figures(m town.Metrics) Figures {
	return Figures{
		Town: m.Town, Citizens: m.Citizens, Awake: m.Awake, Day: m.Day, Phase: m.Phase, Events: m.Events,
		Interactions: m.Interactions, ByOperation: m.ByOperation, Tokens: m.Tokens, Failed: m.Failed, Limited: m.Limited,
		Decided: m.Decided, Fallbacks: m.Fallbacks, Wasted: m.Wasted,
		Tension: m.Tension, Cooperation: m.Cooperation, Surplus: m.Surplus,
	}
}
