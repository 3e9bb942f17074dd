package app

import (
	"context"
	"fmt"

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
		JetStream: a.js, Stream: a.streams, Admitter: a.gate, Limits: a.entitle, Mind: mind, Log: a.log, Registerer: a.reg,
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
