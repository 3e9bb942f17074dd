package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/config"
)

// document is what the tests need of an OpenAPI document.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Security    []map[string][]string
		Responses   map[string]struct{ Description string }
		Parameters  []struct{ Name, In string }
	}
}

func (p *program) document() (d document) {
	p.t.Helper()
	a := p.get(api.Path)
	if a.status != http.StatusOK {
		p.t.Fatalf("%s answers %d", api.Path, a.status)
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		p.t.Fatal(err)
	}
	return d
}

var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

// What the document says is there is there, and behind a key where it says so.
func TestDocumentedRoutesAreThere(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	d := p.document()
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("the document is of OpenAPI %q, want 3.1", d.OpenAPI)
	}
	seen := map[string]string{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			if other := seen[op.OperationID]; other != "" || op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s has the id %q, as %q has, and the summary %q", name, op.OperationID, other, op.Summary)
			}
			seen[op.OperationID] = name
			if len(op.Responses) == 0 {
				t.Errorf("%s has no answers", name)
			}
			for _, inPath := range parameter.FindAllString(path, -1) {
				found := false
				for _, q := range op.Parameters {
					found = found || q.In == "path" && "{"+q.Name+"}" == inPath
				}
				if !found {
					t.Errorf("%s does not describe %s", name, inPath)
				}
			}
			req := p.request(strings.ToUpper(method), parameter.ReplaceAllString(path, "1"), "")
			req.Header.Del("Authorization")
			got := p.send(req)
			_, may := op.Responses["404"] // of what is asked for, and not of the route
			missing := got.status == http.StatusNotFound && (!may || strings.Contains(got.body, "there is nothing at this path"))
			switch open := len(op.Security) == 0; {
			case open && (missing || got.status == http.StatusMethodNotAllowed || got.status == http.StatusUnauthorized):
				t.Errorf("%s is answered with %d %s without a key, and is open as the document has it", name, got.status, got.body)
			case !open && got.status != http.StatusUnauthorized:
				t.Errorf("%s is answered with %d %s without a key, want 401", name, got.status, got.body)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d operations are documented", len(seen))
	}
}

// registered finds a route in the code: mux.Handle("POST /path", …).
var registered = regexp.MustCompile(`"(GET|POST|PUT|PATCH|DELETE) (/[^" ]*)"`)

// What is there is in the document.
func TestRoutesAreDocumented(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	d := p.document()
	for _, dir := range []string{".", "../receive", "../consume/deadletter", "../reconcile", "../history"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range registered.FindAllStringSubmatch(string(b), -1) {
				if _, ok := d.Paths[m[2]][strings.ToLower(m[1])]; !ok {
					t.Errorf("%s registers %s %s, which is not in the document", file, m[1], m[2])
				}
			}
		}
	}
}
