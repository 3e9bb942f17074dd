package checks

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/verify"
)

const (
	jsonType  = "application/json"
	eventType = "application/cloudevents+json"

	eventsPath  = "/api/v1/events"
	webhookPath = "/webhooks/stripe"
)

// keyBits is what a key must have room for: 2^100 guesses are out of reach.
const keyBits = 100

// guesses are keys that somebody tries first.
var guesses = []string{"test", "demo", "secret", "changeme", "admin", "password", "kgents", "kg_test", "kg_local", "api-key", "default"}

// keysStrong looks at the keys that are known, and tries some that mustn't be any.
func (t *trial) keysStrong(ctx context.Context) checklist.Finding {
	const mend = "rotate it: kgents secrets rotate api-key; or set API_KEYS to keys of 26 random characters"
	switch {
	case t.APIURL == "":
		return noAPI
	case len(t.APIKeys) == 0:
		return noKey
	}
	least := math.Inf(1)
	for i, key := range t.APIKeys {
		bits, flaw := strength(key)
		if flaw != "" {
			return checklist.Failed(fmt.Sprintf("API key %d of %d %s", i+1, len(t.APIKeys), flaw), mend)
		}
		least = min(least, bits)
	}
	var unknown []string
	for i, key := range t.APIKeys {
		a, err := t.ask(ctx, http.MethodGet, "/api/v1/meters", key, "", nil)
		if err != nil {
			return unreached("the API", err, lookAtAPI)
		}
		if a.status == http.StatusUnauthorized {
			unknown = append(unknown, fmt.Sprint(i+1))
		}
	}
	if len(unknown) == len(t.APIKeys) {
		return checklist.CannotTell("the API takes none of the keys that are known here, so its own are not known", "set API_KEYS to those of the API")
	}
	for _, guess := range guesses {
		a, err := t.ask(ctx, http.MethodGet, "/api/v1/meters", guess, "", nil)
		switch {
		case err != nil:
			return unreached("the API", err, lookAtAPI)
		case a.status != http.StatusUnauthorized && a.status != http.StatusForbidden:
			return checklist.Failed(fmt.Sprintf("the API answered %s to the key %q", a.said(), guess), mend)
		}
	}
	seen := fmt.Sprintf("%s with room for %.0f bits or more; %d that people guess first were refused", plural(len(t.APIKeys), "key"), math.Floor(least), len(guesses))
	if len(unknown) > 0 {
		return checklist.Warned(seen+"; the API does not take key "+some(unknown)+" of those known here", "finish the rotation: kgents secrets rotate api-key --finish")
	}
	return checklist.Passed("%s", seen)
}

// strength is how many bits a key has room for at most, and what makes it weak all
// the same. It never repeats the key.
func strength(key string) (bits float64, flaw string) {
	random := key
	for _, prefix := range []string{"kg_local_", "kg_meter_", "kg_"} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			random = rest
			break
		}
	}
	alphabet := 0.0
	for _, class := range []struct {
		has  func(rune) bool
		size float64
	}{{unicode.IsLower, 26}, {unicode.IsUpper, 26}, {unicode.IsDigit, 10}} {
		if strings.ContainsFunc(random, class.has) {
			alphabet += class.size
		}
	}
	if alphabet > 0 {
		bits = float64(len(random)) * math.Log2(alphabet)
	}
	// Of random text few pieces come twice.
	pieces := map[string]bool{}
	for i := range max(0, len(random)-2) {
		pieces[random[i:i+3]] = true
	}
	lower := strings.ToLower(random)
	switch {
	case bits < keyBits:
		return bits, fmt.Sprintf("has %d random characters, room for %.0f bits", len(random), bits)
	case 3*len(pieces) < 2*(len(random)-2):
		return bits, "repeats itself"
	}
	for _, word := range []string{"changeme", "password", "example", "secret", "123456", "abcdef"} {
		if strings.Contains(lower, word) {
			return bits, "holds a word that people choose: " + word
		}
	}
	return bits, ""
}

// canaryEvent is one that no customer pays for.
func canaryEvent(id string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":%q,"type":%q,"subject":%q,"data":{}}`, id, verify.Source, verify.Type, verify.Subject)
}

// anonymousRefused tries each route that needs a key without and with a wrong one.
// What it asks for is harmless should it be let in.
func (t *trial) anonymousRefused(ctx context.Context) checklist.Finding {
	if t.APIURL == "" {
		return noAPI
	}
	const mend = "look at what stands before the API; set API_KEYS, and let no proxy add a key"
	event := canaryEvent("checklist-" + rand.Text())
	tried := 0
	for _, route := range []struct {
		method, path string
		body         []byte
		elsewhere    bool // not every role has it
	}{
		{http.MethodPost, eventsPath, event, false},
		{http.MethodGet, eventsPath + "?limit=1", nil, false},
		{http.MethodGet, "/api/v1/meters", nil, false},
		{http.MethodGet, "/api/v1/meters/" + verify.Meter + "/query", nil, false},
		{http.MethodGet, "/api/v1/deadletters", nil, false},
		{http.MethodPost, "/api/v1/deadletters/0/replay", nil, false}, // there is no 0
		{http.MethodDelete, "/api/v1/deadletters/0", nil, false},
		{http.MethodPost, "/api/v1/reconcile?since=1s&settle=0s", nil, true},
		{http.MethodGet, "/api/v1/system", nil, true},
		{http.MethodPost, "/api/v1/canaries", nil, true},
	} {
		for with, key := range map[string]string{"without a key": "", "with a wrong key": "kg_" + rand.Text()} {
			a, err := t.ask(ctx, route.method, route.path, key, eventType, route.body)
			path, _, _ := strings.Cut(route.path, "?")
			switch {
			case err != nil:
				return unreached("the API", err, lookAtAPI)
			case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
				tried++
			case route.elsewhere && a.status == http.StatusNotFound:
			case a.status == http.StatusTooManyRequests || a.status >= 500:
				return checklist.CannotTell(fmt.Sprintf("%s %s %s was answered %s", route.method, path, with, a.said()), "try again when the API is well")
			default:
				return checklist.Failed(fmt.Sprintf("%s %s %s was answered %s", route.method, path, with, a.said()), mend)
			}
		}
	}
	return checklist.Passed("%d requests to the routes that need a key, without and with a wrong one, were all refused", tried)
}

// zeros is a body of n bytes that nobody has to hold.
func zeros(n int64) io.Reader { return io.LimitReader(nought{}, n) }

type nought struct{}

func (nought) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// oversizeRefused sends what is larger than it may be.
func (t *trial) oversizeRefused(ctx context.Context) checklist.Finding {
	switch {
	case t.APIURL == "":
		return noAPI
	case t.key() == "":
		return noKey
	}
	key := "Bearer " + t.key()
	// Webhooks without the form of a signature are refused before their size is.
	signature := signed(nil, time.Now(), rand.Text())
	big := strings.Repeat("x", kgents.MaxEventBytes)
	event := fmt.Sprintf(`{"specversion":"1.0","id":"checklist-%s","source":%q,"type":%q,"subject":%q,"data":{"x":%q}}`,
		rand.Text(), verify.Source, verify.Type, verify.Subject, big)
	for _, try := range []struct {
		what   string
		path   string
		header http.Header
		body   io.Reader
		want   []int
	}{
		{"a webhook that says it has more than 1 MiB", webhookPath, http.Header{"Expect": {"100-continue"}, "Stripe-Signature": {signature}},
			sized{zeros(receive.MaxWebhookBytes + 1), receive.MaxWebhookBytes + 1}, []int{http.StatusRequestEntityTooLarge}},
		{"a webhook of more than 1 MiB that doesn't say so", webhookPath, http.Header{"Stripe-Signature": {signature}},
			zeros(receive.MaxWebhookBytes + 1), []int{http.StatusRequestEntityTooLarge}},
		{"usage events of more than 8 MiB", eventsPath, http.Header{"Expect": {"100-continue"}, "Authorization": {key}, "Content-Type": {jsonType}},
			sized{zeros(receive.MaxEventsBytes + 1), receive.MaxEventsBytes + 1}, []int{http.StatusRequestEntityTooLarge}},
		{"an event of more than 900 kB", eventsPath, http.Header{"Authorization": {key}, "Content-Type": {eventType}},
			strings.NewReader(event), []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest}},
		{"headers of 64 KiB", eventsPath, http.Header{"X-Checklist": {strings.Repeat("x", 64<<10)}},
			strings.NewReader(""), []int{http.StatusRequestHeaderFieldsTooLarge, http.StatusBadRequest}},
	} {
		a, err := t.send(ctx, request{http.MethodPost, t.APIURL + try.path, try.header, try.body})
		switch {
		case err != nil:
			return unreached("the API, to "+try.what+",", err, lookAtAPI)
		case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
			return checklist.CannotTell(try.what+" was answered "+a.said(), "try again when the API is well")
		case !slices.Contains(try.want, a.status):
			return checklist.Failed(fmt.Sprintf("%s was answered %s, not %d", try.what, a.said(), try.want[0]), "look at what stands before the API, and at its version")
		}
	}
	return checklist.Passed("webhooks past 1 MiB, with and without their length, events past 8 MiB in all and 900 kB each and headers of 64 KiB were refused")
}

// sized is a body that says how long it is.
type sized struct {
	io.Reader
	length int64
}

// securityHeaders looks at answers of all kinds: good, refused, none at all.
func (t *trial) securityHeaders(ctx context.Context) checklist.Finding {
	if t.APIURL == "" {
		return noAPI
	}
	tries := []struct{ method, path, key string }{
		{http.MethodGet, "/livez", ""},
		{http.MethodGet, "/checklist-" + rand.Text(), ""},
		{http.MethodGet, "/api/v1/meters", ""},
		{http.MethodPut, eventsPath, ""},
	}
	if t.key() != "" {
		tries = append(tries, struct{ method, path, key string }{http.MethodGet, "/api/v1/meters", t.key()})
	}
	want := receive.SecureHeaders()
	secure := strings.HasPrefix(t.APIURL, "https:")
	strict := true
	for i, try := range tries {
		a, err := t.ask(ctx, try.method, try.path, try.key, "", nil)
		if err != nil {
			return unreached("the API", err, lookAtAPI)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got := a.header.Get(name); got != want.Get(name) {
				return checklist.Failed(cut(fmt.Sprintf("the answer %d to %s %s has %s %q, not %q", a.status, try.method, tries[i].path, name, got, want.Get(name)), 200),
					"let what stands before the API pass its headers on")
			}
		}
		strict = strict && a.header.Get("Strict-Transport-Security") != ""
	}
	seen := fmt.Sprintf("%s of %s have %s", plural(len(tries), "answer"), "all kinds", strings.Join(slices.Sorted(maps.Keys(want)), ", "))
	if secure && !strict {
		return checklist.Warned(seen+", but no Strict-Transport-Security", "set it where TLS ends, once all of the host is ready for it")
	}
	return checklist.Passed("%s", seen)
}
