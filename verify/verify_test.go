package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "the-key"

// The questions that verify asks.
const (
	send  = "POST /api/v1/events"
	list  = "GET /api/v1/events"
	query = "GET /api/v1/meters/canaries/query"
	saas  = "GET /health/saas"
)

// answer is what the fake says to one request.
type answer struct {
	status int
	body   string
}

// silent is no answer: the user loses patience, and the request is cut off.
var silent = answer{}

// fake is a kgents whose answers are chosen by the question and by how often it
// was asked before. Without a choice all is well.
type fake struct {
	*httptest.Server
	answers map[string]func(n int) answer
	cancel  context.CancelFunc // the user's Ctrl-C

	mu    sync.Mutex
	asked map[string]int
	sent  *http.Request
	event map[string]any
}

func newFake(t *testing.T) *fake {
	f := &fake{asked: map[string]int{}, cancel: func() {}}
	f.answers = map[string]func(n int) answer{
		send:  always(204, ""),
		list:  func(int) answer { return answer{200, f.listed(time.Now(), "")} },
		query: func(int) answer { return answer{200, f.counted()} },
		saas:  always(200, `{"status":"healthy"}`),
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func always(status int, body string) func(int) answer {
	return func(int) answer { return answer{status, body} }
}

// in gives each answer once, and the last one from then on.
func in(answers ...answer) func(int) answer {
	return func(n int) answer { return answers[min(n, len(answers)-1)] }
}

func problem(status int, detail string) answer {
	return answer{status, fmt.Sprintf(`{"status":%d,"detail":%q}`, status, detail)}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	question := req.Method + " " + req.URL.Path
	f.mu.Lock()
	n := f.asked[question]
	f.asked[question]++
	choose, known := f.answers[question]
	if question == send {
		f.sent, f.event = req, map[string]any{}
		_ = json.Unmarshal(body, &f.event)
	}
	var a answer
	if known {
		a = choose(n)
	}
	if known && question == list && req.URL.Query().Get("id") != f.event["id"] {
		a = answer{200, "[]"}
	}
	f.mu.Unlock()
	switch {
	case !known:
		http.NotFound(w, req)
	case a == silent:
		f.cancel()
		<-req.Context().Done()
	default:
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}
}

// listed is the meter's list with the event that was sent.
func (f *fake) listed(ingested time.Time, validationError string) string {
	b, _ := json.Marshal([]map[string]any{{"event": f.event, "ingestedAt": ingested, "validationError": validationError}})
	return string(b)
}

// counted is what the meter says: two canaries of former runs, and this one.
func (f *fake) counted() string {
	if f.event == nil {
		return `{"data":[{"value":2}]}`
	}
	return `{"data":[{"value":2},{"value":1}]}`
}

func (f *fake) times(question string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[question]
}

// run verifies the fake with a patience that only a defect outlasts.
func (f *fake) run(t *testing.T) (verify.Result, []verify.Stage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.cancel = cancel
	var told []verify.Stage
	r, err := verify.Run(ctx, verify.Target{URL: f.URL, Key: key}, func(s verify.Stage) { told = append(told, s) })
	if err != nil {
		t.Fatal(err)
	}
	return r, told
}

func names(stages []verify.Stage) string {
	var names []string
	for _, s := range stages {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func TestAllWell(t *testing.T) {
	f := newFake(t)
	r, told := f.run(t)
	if !r.OK() || r.Reason != "" || r.Health != nil {
		t.Errorf("the result is %+v", r)
	}
	if got, want := names(r.Stages), "publish consume meter query"; got != want {
		t.Errorf("the stages are %q, want %q", got, want)
	}
	if diff := cmp.Diff(r.Stages, told); diff != "" {
		t.Errorf("told other stages than it returned:\n%s", diff)
	}
	var sum time.Duration
	for _, s := range r.Stages {
		if s.Took < 0 || s.What == "" {
			t.Errorf("the stage is %+v", s)
		}
		sum += s.Took
	}
	if sum > r.Total {
		t.Errorf("the stages took %v of %v", sum, r.Total)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked[send] != 1 {
		t.Errorf("sent %d canaries", f.asked[send])
	}
	if got := f.sent.Header.Get("Authorization"); got != "Bearer "+key {
		t.Errorf("Authorization was %q", got)
	}
	if got := f.sent.Header.Get("Content-Type"); got != "application/cloudevents+json" {
		t.Errorf("Content-Type was %q", got)
	}
	if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(f.event["time"])); err != nil || time.Since(at).Abs() > time.Hour {
		t.Errorf("the event's time was %v", f.event["time"])
	}
	delete(f.event, "time")
	want := map[string]any{
		"specversion": "1.0", "id": r.ID, "source": "kgents", "type": verify.Type, "subject": verify.Subject, "data": map[string]any{},
	}
	if diff := cmp.Diff(want, f.event); diff != "" {
		t.Errorf("the canary, -want +sent:\n%s", diff)
	}
}

// A path that is slow, or that has no meter for canaries, is not stuck.
func TestArrives(t *testing.T) {
	none := problem(404, "no such meter")
	for _, test := range []struct {
		name   string
		mend   func(f *fake)
		stages string
		sent   int
	}{
		{"after nothing durable could take it for a while", func(f *fake) {
			f.answers[send] = in(problem(503, "no disk"), problem(503, "no disk"), answer{204, ""})
		}, "publish consume meter query", 3},
		{"after a while in the stream", func(f *fake) {
			f.answers[list] = func(n int) answer {
				switch n {
				case 0:
					return answer{200, "[]"}
				case 1:
					return problem(500, "starting")
				}
				return answer{200, f.listed(time.Now(), "")}
			}
		}, "publish consume meter query", 1},
		{"after a while before the count", func(f *fake) {
			f.answers[query] = in(answer{200, `{"data":[{"value":2}]}`}, answer{200, `{"data":[{"value":2}]}`}, problem(500, "busy"), answer{200, `{"data":[{"value":3}]}`})
		}, "publish consume meter query", 1},
		{"as the first canary ever", func(f *fake) {
			f.answers[query] = in(answer{200, `{"data":[]}`}, answer{200, `{"data":[{"value":1}]}`})
		}, "publish consume meter query", 1},
		{"at a meter whose clock is an hour behind", func(f *fake) {
			f.answers[list] = func(int) answer { return answer{200, f.listed(time.Now().Add(-time.Hour), "")} }
		}, "publish consume meter query", 1},
		{"at a meter whose clock is an hour ahead", func(f *fake) {
			f.answers[list] = func(int) answer { return answer{200, f.listed(time.Now().Add(time.Hour), "")} }
		}, "publish consume meter query", 1},
		{"where no meter counts canaries", func(f *fake) { f.answers[query] = in(none) }, "publish consume meter", 1},
		{"where the meter lists it as counted by none", func(f *fake) {
			f.answers[list] = func(int) answer { return answer{200, f.listed(time.Now(), "no meter found")} }
		}, "publish consume meter", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			test.mend(f)
			r, _ := f.run(t)
			if !r.OK() || r.Reason != "" {
				t.Errorf("stuck at %q: %s", r.Stuck, r.Reason)
			}
			if got := names(r.Stages); got != test.stages {
				t.Errorf("the stages are %q, want %q", got, test.stages)
			}
			if n := f.times(send); n != test.sent {
				t.Errorf("sent %d canaries, want %d", n, test.sent)
			}
			for _, s := range r.Stages { // whatever the meter's clock says
				if s.Took < 0 || s.Took > r.Total {
					t.Errorf("%s took %v of %v", s.Name, s.Took, r.Total)
				}
			}
		})
	}
}

// Stuck names the stage, and the reason is the last thing that was heard: that
// the patience ended is no news.
func TestStuck(t *testing.T) {
	two := answer{200, `{"data":[{"value":2}]}`}
	for _, test := range []struct {
		name          string
		mend          func(f *fake)
		stuck, reason string
		stages        string
		sent          int
	}{
		{"the key is refused", func(f *fake) {
			f.answers[send] = in(problem(401, "no such key"))
			f.answers[query] = f.answers[send]
		}, "publish", "401 Unauthorized: no such key", "", 1},
		{"the canary is refused", func(f *fake) { f.answers[send] = in(problem(400, "bad source")) },
			"publish", "400 Bad Request: bad source", "", 1},
		{"the edge has nothing durable", func(f *fake) { f.answers[send] = in(problem(503, "no disk"), problem(503, "still no disk"), silent) },
			"publish", "503 Service Unavailable: still no disk", "", 3},
		{"a proxy that speaks no JSON", func(f *fake) { f.answers[send] = in(answer{502, "<html>"}, silent) },
			"publish", "502 Bad Gateway", "", 2},
		{"an answer that promises nothing durable", func(f *fake) { f.answers[send] = in(answer{200, "{}"}, silent) },
			"publish", "200 OK", "", 2},
		{"the edge does not answer", func(f *fake) { f.answers[send] = in(silent) },
			"publish", "no answer: ", "", 1},

		{"the sink delivers nothing", func(f *fake) { f.answers[list] = in(answer{200, "[]"}, answer{200, "[]"}, silent) },
			"consume", "the meter's list does not have the event yet", "publish", 1},
		{"the list fails", func(f *fake) { f.answers[list] = in(answer{200, "[]"}, problem(500, "disk full"), silent) },
			"consume", "the meter answered 500: disk full", "publish", 1},

		{"the meter never counts it", func(f *fake) { f.answers[query] = in(two, two, two, silent) },
			"query", "the meter canaries has not counted the event yet", "publish consume meter", 1},
		{"the count goes down", func(f *fake) { f.answers[query] = in(two, answer{200, `{"data":[{"value":1}]}`}, silent) },
			"query", "the meter canaries has not counted the event yet", "publish consume meter", 1},
		{"the query fails", func(f *fake) { f.answers[query] = in(two, problem(500, "disk full"), silent) },
			"query", "the meter answered 500: disk full", "publish consume meter", 1},
		// An earlier canary must not pass for this one.
		{"the count from before is not known", func(f *fake) { f.answers[query] = in(problem(500, "starting"), two) },
			"query", "the count from before the event is not known, so that of now proves nothing: the meter answered 500: starting", "publish consume meter", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			test.mend(f)
			r, told := f.run(t)
			if r.OK() || r.Stuck != test.stuck {
				t.Errorf("stuck at %q, want %q", r.Stuck, test.stuck)
			}
			if r.Reason != test.reason && !(strings.HasSuffix(test.reason, " ") && strings.HasPrefix(r.Reason, test.reason)) {
				t.Errorf("the reason is %q, want %q", r.Reason, test.reason)
			}
			if got := names(told); got != test.stages {
				t.Errorf("the stages are %q, want %q", got, test.stages)
			}
			if n := f.times(send); n != test.sent {
				t.Errorf("sent %d canaries, want %d", n, test.sent)
			}
			if diff := cmp.Diff(map[string]any{"status": "healthy"}, r.Health); diff != "" {
				t.Errorf("the health, -want +got:\n%s", diff)
			}
		})
	}
}

// The health is an extra: without it the result still says where it is stuck.
func TestStuckWithoutHealth(t *testing.T) {
	f := newFake(t)
	f.answers[send] = in(problem(401, "no such key"))
	f.answers[saas] = always(200, "<html>")
	if r, _ := f.run(t); r.Stuck != "publish" || r.Health != nil {
		t.Errorf("the result is %+v", r)
	}
}

func TestNothingAnswers(t *testing.T) {
	f := newFake(t)
	f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := verify.Run(ctx, verify.Target{URL: f.URL, Key: key}, func(s verify.Stage) { t.Errorf("told of %v", s) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Stuck != "publish" || !strings.HasPrefix(r.Reason, "no answer: ") || r.Health != nil {
		t.Errorf("the result is %+v", r)
	}
}

// An answer that the time was too short for is not told in the words of a library.
func TestTimeIsUp(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	r, err := verify.Run(ctx, verify.Target{URL: f.URL, Key: key}, func(s verify.Stage) { t.Errorf("told of %v", s) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Stuck != "publish" || r.Reason != "no answer: the time was up" {
		t.Errorf("the result is %+v", r)
	}
}

// A run that is cancelled before it began sends nothing, and says so.
func TestCancelledBefore(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := verify.Run(ctx, verify.Target{URL: f.URL, Key: key}, func(s verify.Stage) { t.Errorf("told of %v", s) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Stuck != "publish" || !strings.Contains(r.Reason, context.Canceled.Error()) {
		t.Errorf("the result is %+v", r)
	}
	if n := f.times(send); n != 0 {
		t.Errorf("sent %d canaries", n)
	}
}

func TestNoAddress(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:8000", "ftp://127.0.0.1", "http://"} {
		if _, err := verify.Run(t.Context(), verify.Target{URL: url}, func(verify.Stage) {}); err == nil {
			t.Errorf("%q is taken for an address", url)
		}
	}
}

// The result as JSON is what a deployment script reads.
func TestResultAsJSON(t *testing.T) {
	b, err := json.Marshal(verify.Result{ID: "1", Stages: []verify.Stage{{"publish", time.Millisecond, "on disk"}}, Total: time.Second, Stuck: "consume", Reason: "nothing yet"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"1","stages":[{"name":"publish","took_ns":1000000,"what":"on disk"}],"total_ns":1000000000,"stuck":"consume","reason":"nothing yet"}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
