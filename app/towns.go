package app

import (
	"context"
	"fmt"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
	"github.com/kgents/kgents/town/mind"
)

// startTowns serves Agent Town. What towns use goes through the same gate as anybody's.
func (a *App) startTowns(context.Context) error {
	mind, err := a.mind()
	if err != nil {
		return err
	}
	a.towns = host.New(host.Config{
		JetStream: a.js, Stream: a.streams, Admitter: a.gate, Limits: a.entitle, Mind: mind, Owners: owners{a.customers}, Good: a.good, Log: a.log, Registerer: a.reg,
	})
	a.onStop(a.towns.Close)
	a.v1 = append(a.v1, a.towns)
	return nil
}

// mind is what decides for citizens of towns that have asked for a language model; nil
// without one.
func (a *App) mind() (town.Decider, error) {
	if a.config.TownModelURL == "" {
		return nil, nil
	}
	m, err := mind.New(mind.Config{
		API: a.config.TownModelAPI, URL: a.config.TownModelURL, Key: a.config.TownModelKey, Model: a.config.TownModel,
		Budget: int64(a.config.TownModelBudget), Log: a.log, Registerer: a.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("TOWN_MODEL_URL: %w", err)
	}
	a.onStop(m.Close)
	return m, nil
}

// owners are the customers as towns see them.
type owners struct{ store *customer.Store }

// Since implements host.Owners.
func (o owners) Since(id string) (since time.Time, there, sure bool) {
	sure = o.store.Current() // before the look, which is as new as that
	c, there := o.store.Get(id)
	return c.Created, there, sure
}

// good tells whether a key that was good a while ago still is. One of API_KEYS is as long
// as the program runs.
func (a *App) good(caller kgents.Principal) bool {
	if !customer.ValidPrefix(caller.Key) {
		return true
	}
	k, ok := a.customers.GetKey(caller.Key)
	return ok && k.Customer == caller.Customer && (k.Expires.IsZero() || time.Now().Before(k.Expires))
}
