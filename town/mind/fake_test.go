package mind_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/town/mind"
)

const key = "sk-secret-0123456789"

// reply is what a fake does with one request.
type reply struct {
	text      string // of the answer
	in, out   int64
	refuses   bool
	noUsage   bool
	status    int // other than 200, with the API's own error body
	after     string
	raw       string // instead of an answer
	slow      bool   // no answer until the request is given up
	breaks    bool   // no answer: the connection breaks
	refused   bool   // there is no connection
	cacheIn   int64  // of in, how many were cached; Anthropic counts them apart
	thoughtIn int64  // tokens that are in OpenAI's total only
	spent     bool   // of status 429: the operator's money is used up
	wantNewer bool   // OpenAI's answer to max_tokens for models that want the newer name
}

// fake speaks one of the two APIs as its documentation says. Requests that it
// doesn't document fail the test.
type fake struct {
	t   *testing.T
	api string

	mu      sync.Mutex
	replies []reply // the last one stays
	bodies  []string
}

func (f *fake) next(body string) reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = append(f.bodies, body)
	r := f.replies[0]
	if len(f.replies) > 1 {
		f.replies = f.replies[1:]
	}
	return r
}

func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.bodies)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.check(r, b)
	reply := f.next(string(b))
	switch {
	case reply.slow:
		<-r.Context().Done()
		return
	case reply.breaks:
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	if reply.after != "" {
		w.Header().Set("Retry-After", reply.after)
	}
	switch {
	case reply.wantNewer:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}`)
	case reply.status >= 300 && reply.status < 400:
		w.Header().Set("Location", "http://elsewhere.test/")
		w.WriteHeader(reply.status)
	case reply.spent && f.api == mind.OpenAI:
		w.WriteHeader(reply.status)
		fmt.Fprint(w, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`)
	case reply.spent:
		w.WriteHeader(reply.status)
		fmt.Fprint(w, `{"type":"error","error":{"type":"rate_limit_error","message":"spend limit","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"req_1"}`)
	case reply.status != 0:
		w.WriteHeader(reply.status)
		if f.api == mind.OpenAI {
			fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, key)
		} else {
			fmt.Fprint(w, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}`)
		}
	case reply.raw != "":
		fmt.Fprint(w, reply.raw)
	case f.api == mind.OpenAI:
		fmt.Fprint(w, openaiBody(reply))
	default:
		fmt.Fprint(w, anthropicBody(reply))
	}
}

func (f *fake) check(r *http.Request, body []byte) {
	path, header, value := "/v1/chat/completions", "Authorization", "Bearer "+key
	if f.api == mind.Anthropic {
		path, header, value = "/v1/messages", "X-Api-Key", key
		if v := r.Header.Get("Anthropic-Version"); v != "2023-06-01" {
			f.t.Errorf("version %q", v)
		}
	}
	if r.Method != http.MethodPost || r.URL.Path != path || r.Header.Get(header) != value || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
	}
	var m struct {
		Model     string
		MaxTokens int `json:"max_tokens"`
		MaxNewer  int `json:"max_completion_tokens"`
		System    string
		Messages  []struct{ Role, Content string }
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		f.t.Errorf("%s: %v", body, err)
		return
	}
	roles := m.System
	for _, msg := range m.Messages {
		roles += " " + msg.Role
	}
	if f.api == mind.OpenAI && roles != " system user" || f.api == mind.Anthropic && (m.System == "" || roles != m.System+" user") ||
		m.Model != "large-2" || (m.MaxTokens == 64) == (m.MaxNewer == 64) {
		f.t.Errorf("%s", body)
	}
}

func openaiBody(r reply) string {
	finish, refusal, content := "stop", "null", quote(r.text)
	if r.refuses {
		refusal, content = `"I'm sorry, I can't."`, "null"
	}
	usage := fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"completion_tokens_details":{"reasoning_tokens":0}}`,
		r.in, r.out-r.thoughtIn, r.in+r.out)
	if r.noUsage {
		usage = ""
	}
	return fmt.Sprintf(`{"id":"chatcmpl-1","object":"chat.completion","created":1795000000,"model":"large-2-2026","choices":[{"index":0,"message":{"role":"assistant","content":%s,"refusal":%s},"logprobs":null,"finish_reason":%q}]%s,"service_tier":"default"}`,
		content, refusal, finish, usage)
}

func anthropicBody(r reply) string {
	stop, content := "end_turn", `[{"type":"thinking","thinking":"1, 2 or 3?"},{"type":"text","text":`+quote(r.text)+`}]`
	if r.refuses {
		stop, content = "refusal", "[]"
	}
	usage := fmt.Sprintf(`,"usage":{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":%d,"output_tokens":%d,"service_tier":"standard"}`,
		r.in-r.cacheIn, r.cacheIn, r.out)
	if r.noUsage {
		usage = ""
	}
	return fmt.Sprintf(`{"id":"msg_1","type":"message","role":"assistant","model":"large-2-2026","content":%s,"stop_reason":%q,"stop_sequence":null%s}`,
		content, stop, usage)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// wire is a connection to a handler within the process, so that time can be
// synctest's.
type wire struct {
	f *fake
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.f.mu.Lock()
	no := w.f.replies[0].refused
	if no {
		w.f.bodies = append(w.f.bodies, "")
		if len(w.f.replies) > 1 {
			w.f.replies = w.f.replies[1:]
		}
	}
	w.f.mu.Unlock()
	if no {
		return nil, fmt.Errorf("dial tcp 127.0.0.1:1: connection refused")
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	rec := httptest.NewRecorder()
	broke := false
	func() {
		defer func() { broke = recover() != nil }()
		w.f.ServeHTTP(rec, r)
	}()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if broke {
		return nil, io.ErrUnexpectedEOF
	}
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}
