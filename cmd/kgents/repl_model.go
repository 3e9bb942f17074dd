package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/config"
)

// modelFlags say which model helps the shell to order what words may mean: the one that
// is configured for towns, or another.
type modelFlags struct {
	url, api, name, keyFile string
	none, ask               bool
}

func (m *modelFlags) addFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&m.url, "model-url", "", "base URL of the API of a model that helps with words; else $TOWN_MODEL_URL, else none helps")
	fl.StringVar(&m.api, "model-api", "", "which API that is: openai or anthropic; else $TOWN_MODEL_API")
	fl.StringVar(&m.name, "model", "", "name of the model; else $TOWN_MODEL")
	fl.StringVar(&m.keyFile, "model-key-file", "", "file with the key of that API; else $TOWN_MODEL_KEY or $TOWN_MODEL_KEY_FILE, which go to $TOWN_MODEL_URL only")
	fl.BoolVar(&m.none, "no-model", false, "ask no model, whatever is configured")
	fl.BoolVar(&m.ask, "ask-model", false, "ask the model also for find, and for words in a script")
	words(cmd, "model-url")
	words(cmd, "model")
	words(cmd, "model-api", "openai", "anthropic")
}

// open gives the model, nil without one. A key of the environment goes to the address
// of the environment only.
func (m *modelFlags) open(c config.Config) (search.Reranker, error) {
	if m.none {
		if m.url != "" || m.name != "" || m.api != "" || m.keyFile != "" || m.ask {
			return nil, errors.New("--no-model goes with no other flag of the model")
		}
		return nil, nil
	}
	chat := search.ChatConfig{API: cmp.Or(m.api, c.TownModelAPI), URL: c.TownModelURL, Key: c.TownModelKey, Model: cmp.Or(m.name, c.TownModel)}
	if m.url != "" {
		if err := checkURL("--model-url", m.url); err != nil {
			return nil, err
		}
		chat.URL, chat.API, chat.Key = m.url, m.api, ""
	}
	if m.keyFile != "" {
		b, err := os.ReadFile(m.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--model-key-file can't be read: %w", err)
		}
		if chat.Key = strings.TrimSpace(string(b)); chat.Key == "" || len(b) > 64<<10 {
			return nil, errors.New("--model-key-file has no key in it")
		}
	}
	switch {
	case chat.URL == "" && chat.Model == "":
		if m.api != "" || m.keyFile != "" || m.ask {
			return nil, errors.New("no model is known: name it with --model-url and --model, or set TOWN_MODEL_URL and TOWN_MODEL")
		}
		return nil, nil
	case chat.URL == "":
		return nil, errors.New("the model's address is missing: name it with --model-url, or set TOWN_MODEL_URL")
	case chat.Model == "":
		return nil, errors.New("the model's name is missing: give it with --model, or set TOWN_MODEL")
	}
	return search.NewChat(chat)
}
