package app_test

import (
	"net/http"
	"testing"

	"github.com/kgents/kgents/config"
)

// Dead letters can be looked at wherever there is NATS, under the API key.
func TestDeadLettersOfEachRole(t *testing.T) {
	nats := natsServer(t, true)
	for role, env := range map[config.Role]map[string]string{
		config.RoleUp:  nil,
		config.RoleAPI: {"NATS_SERVERS": "nats://" + nats, "OPENMETER_BASE_URL": "http://127.0.0.1:1"},
		config.RoleSink: {
			"NATS_SERVERS": "nats://" + nats, "OPENMETER_BASE_URL": "http://127.0.0.1:1",
		},
	} {
		t.Run(string(role), func(t *testing.T) {
			p := start(t, role, settings(t, role, env))
			ask := func(key string) answer {
				req, err := http.NewRequest(http.MethodGet, p.URL()+"/api/v1/deadletters", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+key)
				a, err := do(req)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			eventually(t, "the list is empty", func() bool {
				a := ask(apiKey)
				return a.status == http.StatusOK && a.body == `{"letters":[]}`+"\n"
			})
			if a := ask("another"); a.status != http.StatusUnauthorized {
				t.Errorf("with another key the answer is %d %s", a.status, a.body)
			}
		})
	}
}
