package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
)

// Redis remembers an identity for 24 hours, Stripe delivers again for three days,
// and a person can resend an event from the dashboard for longer. When the key has
// expired, the event is admitted and published a second time; the identity that
// travels with it makes it count once.
func TestKeyHasExpired(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	p := launch(t, environ("REDIS_URL="+server.URL()), dir, "up", "--data", dir, "--api-port", "0")
	paid := payment(1)
	send := func() {
		t.Helper()
		if status, err := paid.send(http.DefaultClient, p.url); err != nil || status != http.StatusOK {
			t.Fatalf("answered %d, %v", status, err)
		}
	}
	processed := `kgents_nats_events_published_total`
	send()
	send()
	if got := p.metric(processed); got != "1" {
		t.Errorf("%s is %s after a redelivery within 24 hours, want 1: Redis knows the event", processed, got)
	}
	if got := server.Do("EXPIRE", "idempotency:stripe evt_e2e1", "0"); got != ":1\r\n" {
		t.Fatalf("there is no key to expire: %q", got)
	}
	send()
	if got := p.metric(processed); got != "2" {
		t.Errorf("%s is %s after the key has expired, want 2: the test tests nothing", processed, got)
	}
	eventually(t, 30*time.Second, func() (bool, any) {
		backlog, events := p.metric("kgents_backlog_messages"), p.metric("kgents_openmeter_events_sent_total")
		return backlog == "0" && (events == "1" || events == "2"), fmt.Sprint(backlog, " ", events)
	})
	if got := p.total("payments"); got != float64(paid.cents) {
		t.Errorf("payments are %v, want %d: counted once", got, paid.cents)
	}
	p.stop()
}
