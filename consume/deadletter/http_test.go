package deadletter_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/receive"
)

// web serves the letters of b under the key "good".
func web(b *bed) http.Handler {
	mux := http.NewServeMux()
	deadletter.NewAPI(b.store, slog.New(slog.DiscardHandler)).Register(mux, func(_ string, next http.Handler) http.Handler {
		return receive.RequireKey(receive.NewKeys([]string{"good"}), next)
	})
	return mux
}

// ask answers a request; "GET /x" with the key, or without it.
func ask(h http.Handler, line, key string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, path, nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var buriedAt = regexp.MustCompile(`"buried_at":"[^"]+"`)

// The answers as scripts read them.
func TestHTTP(t *testing.T) {
	b := newBed(t)
	odd := `{ "source":"s","id":"<&>", "type":"t", "subject":"c", "data":{"n":12345678901234567890} }`
	b.refused(t, odd, 1)
	b.refused(t, event("2", "other", "customer-2"), 0)
	b.bury(t, deadletter.New([]byte("\xff"), deadletter.Malformed, 0, "no batch", first, last, 0))

	const when = `"first_attempt":"2026-11-23T09:30:00.123456789Z","last_attempt":"2026-11-23T10:12:00.123456789Z"`
	letter1 := `"seq":1,"buried_at":"","bytes":89,"reason":"refused","status":400,"detail":"no","source":"s","id":"<&>","type":"t","subject":"c",` + when + `,"count":2`
	letter2 := `"seq":2,"buried_at":"","bytes":110,"reason":"refused","status":400,"detail":"no","source":"agent-runner","id":"2","type":"other","subject":"customer-2",` + when + `,"count":1`
	letter3 := `"seq":3,"buried_at":"","bytes":1,"reason":"malformed","detail":"no batch",` + when + `,"count":1`
	h := web(b)
	for _, test := range []struct {
		line   string
		status int
		want   string
	}{
		{"GET /api/v1/deadletters", 200, `{"letters":[{` + letter1 + `},{` + letter2 + `},{` + letter3 + `}]}`},
		{"GET /api/v1/deadletters?limit=1", 200, `{"letters":[{` + letter1 + `}],"next":1}`},
		{"GET /api/v1/deadletters?limit=1&after=1", 200, `{"letters":[{` + letter2 + `}],"next":2}`},
		{"GET /api/v1/deadletters?after=3", 200, `{"letters":[]}`},
		{"GET /api/v1/deadletters?reason=malformed", 200, `{"letters":[{` + letter3 + `}]}`},
		{"GET /api/v1/deadletters?type=t", 200, `{"letters":[{` + letter1 + `}]}`},
		{"GET /api/v1/deadletters?customer=customer-2", 200, `{"letters":[{` + letter2 + `}]}`},
		{"GET /api/v1/deadletters?since=1h&type=t", 200, `{"letters":[{` + letter1 + `}]}`},
		{"GET /api/v1/deadletters?until=7d", 200, `{"letters":[]}`},
		{"GET /api/v1/deadletters?until=2020-01-01T00:00:00%2B01:00", 200, `{"letters":[]}`},
		{"GET /api/v1/deadletters?since=&until=&reason=&type=t", 200, `{"letters":[{` + letter1 + `}]}`},
		{"GET /api/v1/deadletters/1", 200, `{` + letter1 + `,"event":{"source":"s","id":"<&>","type":"t","subject":"c","data":{"n":12345678901234567890}}}`},
		{"GET /api/v1/deadletters/3", 200, `{` + letter3 + `,"event_base64":"/w=="}`},
		{"POST /api/v1/deadletters/1/replay", 204, ""},
		{"DELETE /api/v1/deadletters/2", 204, ""},
		{"GET /api/v1/deadletters", 200, `{"letters":[{` + letter3 + `}]}`},
	} {
		w := ask(h, test.line, "good")
		if w.Code != test.status {
			t.Errorf("%s: %d %s, want %d", test.line, w.Code, w.Body, test.status)
		}
		got := buriedAt.ReplaceAllString(strings.TrimSpace(w.Body.String()), `"buried_at":""`)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.line, diff)
		}
		if ct := w.Header().Get("Content-Type"); test.status == 200 && ct != "application/json" {
			t.Errorf("%s: the content type is %q", test.line, ct)
		}
	}
	if bodies, _ := b.events(t); len(bodies) != 1 || bodies[0] != "["+odd+"]" {
		t.Errorf("replayed %q, want the first letter's event alone", bodies)
	}
}

// What is wrong is said as a problem document, and changes nothing.
func TestHTTPRefuses(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "t", "c"), 0)
	b.bury(t, deadletter.New([]byte("x"), deadletter.Malformed, 0, "no batch", first, last, 0))
	h := web(b)
	for _, test := range []struct {
		line, key string
		status    int
		says      string
	}{
		{"GET /api/v1/deadletters", "", 401, "API key is needed"},
		{"GET /api/v1/deadletters/1", "", 401, "API key is needed"},
		{"POST /api/v1/deadletters/1/replay", "bad", 401, "not known"},
		{"DELETE /api/v1/deadletters/1", "bad", 401, "not known"},
		{"GET /api/v1/deadletters?reason=other", "good", 400, "use refused or malformed"},
		{"GET /api/v1/deadletters?limit=0", "good", 400, "from 1 to 1000"},
		{"GET /api/v1/deadletters?limit=1001", "good", 400, "from 1 to 1000"},
		{"GET /api/v1/deadletters?limit=x", "good", 400, "from 1 to 1000"},
		{"GET /api/v1/deadletters?after=-1", "good", 400, "'next' of the page before"},
		{"GET /api/v1/deadletters?since=yesterday", "good", 400, "90m, 24h or 7d"},
		{"GET /api/v1/deadletters?until=-1h", "good", 400, "90m, 24h or 7d"},
		{"GET /api/v1/deadletters?since=99999999d", "good", 400, "90m, 24h or 7d"},
		{"GET /api/v1/deadletters?since=1h&until=2h", "good", 400, "since must be before until"},
		{"GET /api/v1/deadletters?typ=t", "good", 400, "no parameter"},
		{"GET /api/v1/deadletters?type=a&type=b", "good", 400, "given twice"},
		{"GET /api/v1/deadletters?type=%zz", "good", 400, "can't be read"},
		{"GET /api/v1/deadletters/0", "good", 400, "whole number from 1"},
		{"GET /api/v1/deadletters/x", "good", 400, "whole number from 1"},
		{"DELETE /api/v1/deadletters/-1", "good", 400, "whole number from 1"},
		{"POST /api/v1/deadletters/1.5/replay", "good", 400, "whole number from 1"},
		{"GET /api/v1/deadletters/99", "good", 404, "no dead letter 99"},
		{"DELETE /api/v1/deadletters/99", "good", 404, "no dead letter 99"},
		{"POST /api/v1/deadletters/99/replay", "good", 404, "no dead letter 99"},
		{"POST /api/v1/deadletters/2/replay", "good", 409, "can't be replayed"},
		{"DELETE /api/v1/deadletters", "good", 405, "use GET here"},
		{"POST /api/v1/deadletters/1", "good", 405, "use DELETE or GET here"},
		{"GET /api/v1/deadletters/1/replay", "good", 405, "use POST here"},
	} {
		w := ask(h, test.line, test.key)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d %s, want %d with %q", test.line, w.Code, w.Body, test.status, test.says)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s: the content type is %q", test.line, ct)
		}
	}
	if n := b.messages(t); n != 2 {
		t.Errorf("%d letters are left, want 2", n)
	}
	b.stop()
	w := ask(h, "GET /api/v1/deadletters", "good")
	if body, _ := io.ReadAll(w.Body); w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(string(body), "nats:") {
		t.Errorf("without a server: %d %s, want 503 that says when to come back and not why", w.Code, body)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"2026-11-23T09:30:00Z":      time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC),
		"2026-11-23T09:30:00+02:00": time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC),
		"90m":                       now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"0s":                        now,
	} {
		if got, err := deadletter.ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1h", "d", "1.5d", "-1d", "2026-11-23", "7"} {
		if got, err := deadletter.ParseTime(text, now); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("%q is %v, %v, want it refused", text, got, err)
		}
	}
}
