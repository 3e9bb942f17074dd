package mask_test

import (
	"testing"

	"github.com/kgents/kgents/agentese/mask"
)

func TestSecrets(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"world.nats.manifest", "world.nats.manifest"},
		{"world.customers.acme.keys.refine[do=revoke][key=kg_abcdefghij]", "world.customers.acme.keys.refine[do=revoke][key=kg_abcdefghij]"},
		{"[key=kg_abcdefghij_0123456789abcdef]", "[key=kg_abcdefghij_" + mask.Masked + "]"},
		{"sk_test_51Hxyz", "sk_test_" + mask.Masked},
		{"Bearer abcdefghijkl", "Bearer " + mask.Masked},
		{`token="abc" rest`, `token="` + mask.Masked + `" rest`},
		{`{"NATS_PASSWORD":"abc","level":"INFO"}`, `{"NATS_PASSWORD":"` + mask.Masked + `","level":"INFO"}`},
		{"Authorization: Basic YTpi", "Authorization: Basic " + mask.Masked},
		{"tokens: 5, agent.tokens=7", "tokens: 5, agent.tokens=7"},
		{"redis://user:hunter2@host", "redis://user:" + mask.Masked + "@host"},
	} {
		got := mask.Secrets(test.line)
		if got != test.want {
			t.Errorf("%s is %s, want %s", test.line, got, test.want)
		}
		if again := mask.Secrets(got); again != got {
			t.Errorf("%s, masked again, is %s", got, again)
		}
	}
}
