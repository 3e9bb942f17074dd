package living

import (
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
)

// An expression begins no header of its own, and brings no secret to the program's audit.
func TestExpressionInHeader(t *testing.T) {
	s := &Sources{API: &client.Client{}}
	for _, text := range []string{
		"world.manifest\r\nX-Admin: 1", "world.customers.acme.keys.refine[do=revoke][key=kg_k7d2m9xq4w_0123456789abcdef]", strings.Repeat("ü", 1000),
	} {
		got := s.For(&tree.Call{Text: text}).Header.Get("X-Kgents-Expression")
		if strings.ContainsAny(got, "\r\n") || strings.Contains(got, "0123456789abcdef") || len(got) > 300 {
			t.Errorf("%q", got)
		}
	}
}
