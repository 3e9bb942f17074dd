package plan

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a Book of a file, with its log.
type shelf struct {
	*Book
	t    *testing.T
	file string
	log  *bytes.Buffer
}

// open is for the bubble of a synctest.
func open(t *testing.T, c Config) shelf {
	t.Helper()
	s := shelf{t: t, file: c.File, log: &bytes.Buffer{}}
	c.Log, c.Registerer = slog.New(slog.NewTextHandler(s.log, nil)), prometheus.NewRegistry()
	b, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s.Book = b
	return s
}

// write changes the file, and waits until it has been looked at.
func (s shelf) write(content string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.wait()
}

func (s shelf) wait() {
	time.Sleep(every)
	synctest.Wait()
}

// tokens is the free plan's limit, by which the tests tell catalogues apart.
func (s shelf) tokens() int64 {
	p, _ := s.Current().Plan("free")
	return p.Quotas["tokens"].Limit.N()
}

func with(tokens string) string {
	return strings.Replace(base, "tokens: 10_000", "tokens: "+tokens, 1)
}

func temp(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "plans.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAChangeIsTakenOver(t *testing.T) {
	file := temp(t, with("1"))
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file})
		defer b.Close()
		began := time.Now()
		if b.tokens() != 1 {
			t.Fatalf("the limit is %d at first", b.tokens())
		}
		before := b.Current()
		b.wait()
		if b.Current() != before {
			t.Error("a file that hasn't changed was read again")
		}
		b.write(with("2"))
		if b.tokens() != 2 {
			t.Errorf("the limit is %d after the change", b.tokens())
		}
		if got := testutil.ToFloat64(b.since); got != float64(began.Add(2*every).Unix()) {
			t.Errorf("the time of the last reload is %v", got)
		}
		// The length and, on some file systems, the time are as before.
		b.write(with("3"))
		if b.tokens() != 3 || testutil.ToFloat64(b.failures) != 0 || testutil.ToFloat64(b.good) != 1 {
			t.Errorf("the limit is %d after the second change", b.tokens())
		}
		if n := strings.Count(b.log.String(), "read again"); n != 2 || strings.Contains(b.log.String(), "WARN") {
			t.Errorf("the log says:\n%s", b.log)
		}
	})
}

// A bad edit changes nothing, is said once, and can be seen for as long as it lasts.
func TestABadEditKeepsThePlans(t *testing.T) {
	file := temp(t, with("1"))
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file})
		defer b.Close()
		read := testutil.ToFloat64(b.since)
		for i, bad := range []string{with("-1"), "", "{", with("2")[:200]} {
			b.write(bad)
			for range 3 {
				b.wait()
			}
			if b.tokens() != 1 || testutil.ToFloat64(b.good) != 0 || testutil.ToFloat64(b.failures) != float64(i+1) || testutil.ToFloat64(b.since) != read {
				t.Errorf("after %q the limit is %d, good is %v, failures are %v", bad, b.tokens(), testutil.ToFloat64(b.good), testutil.ToFloat64(b.failures))
			}
		}
		if n := strings.Count(b.log.String(), "level=ERROR"); n != 4 || !strings.Contains(b.log.String(), "line 18: tokens") {
			t.Errorf("the log says:\n%s", b.log)
		}
		b.write(with("1"))
		if b.tokens() != 1 || testutil.ToFloat64(b.good) != 1 {
			t.Error("the file as it was before is not taken over")
		}
		b.write(with("-1"))
		if n := testutil.ToFloat64(b.failures); n != 5 {
			t.Errorf("the same mistake at another time makes %v failures, want 5", n)
		}
	})
}

func TestAFileThatGoesAwayAndComesBack(t *testing.T) {
	file := temp(t, with("1"))
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file})
		defer b.Close()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			b.wait()
		}
		if b.tokens() != 1 || testutil.ToFloat64(b.good) != 0 || testutil.ToFloat64(b.failures) != 1 || strings.Count(b.log.String(), "level=ERROR") != 1 {
			t.Errorf("without its file the limit is %d, the log says:\n%s", b.tokens(), b.log)
		}
		b.write(with("1"))
		if testutil.ToFloat64(b.good) != 1 {
			t.Error("the same file, back again, is not good")
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(file, 0o700); err != nil {
			t.Fatal(err)
		}
		b.wait()
		if b.tokens() != 1 || testutil.ToFloat64(b.good) != 0 {
			t.Error("a directory in its place is good")
		}
	})
}

// Kubernetes changes a ConfigMap by renaming a symbolic link over another: the file's own
// link stays what it was.
func TestAConfigMapIsFollowed(t *testing.T) {
	dir := t.TempDir()
	version := func(name, content string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "plans.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", with("1"))
	version("..2", with("2"))
	link("..1", "..data")
	link(filepath.Join("..data", "plans.yaml"), "plans.yaml")
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: filepath.Join(dir, "plans.yaml")})
		defer b.Close()
		link("..2", "..data_tmp")
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		b.wait()
		if b.tokens() != 2 {
			t.Errorf("the limit is %d after the swap", b.tokens())
		}
	})
}

// Who loses a plan with a change is worth a word.
func TestPlansThatAreGoneAreNamed(t *testing.T) {
	file := temp(t, base)
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file})
		defer b.Close()
		b.write(strings.NewReplacer("id: pro\n", "id: plus\n", "pro_monthly", "plus_monthly").Replace(base))
		for _, want := range []string{"level=WARN", "plans=[pro]", "lookup_keys=[pro_monthly]", "default=free"} {
			if !strings.Contains(b.log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, b.log)
			}
		}
	})
}

func TestPricesOfThisEnvironment(t *testing.T) {
	file := temp(t, base)
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file, Prices: map[string]string{"pro_monthly": "price_1", "teams_monthly": "price_2", "pro_yearly": ""}})
		defer b.Close()
		check := func() {
			t.Helper()
			if p, ok := b.Current().PlanOfPrice("price_1"); !ok || p.ID != "pro" {
				t.Errorf("price_1 is of plan %q", p.ID)
			}
			if _, ok := b.Current().PlanOfPrice("price_2"); ok {
				t.Error("price_2 is of a plan, which no lookup key says")
			}
		}
		check()
		b.write(with("2")) // also after a change
		check()
		if n := strings.Count(b.log.String(), "lookup_key=teams_monthly"); n != 2 || strings.Contains(b.log.String(), "pro_yearly") {
			t.Errorf("the log says:\n%s", b.log)
		}
	})
}

// What is wrong at the start stops it, and says where.
func TestWhatStopsTheStart(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Config
		want string
	}{
		{"no file", Config{File: filepath.Join(t.TempDir(), "none.yaml")}, "PLANS_FILE: open "},
		{"a directory", Config{File: t.TempDir()}, "is a directory: name the file in it"},
		{"a mistake", Config{File: temp(t, with("-1"))}, "plans.yaml: line 18: tokens"},
		{"one price for two", Config{Prices: map[string]string{"a": "price_1", "b": "price_1"}}, "the lookup keys a and b have the same Stripe price"},
	} {
		if b, err := Open(test.c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
			if b != nil {
				b.Close()
			}
		}
	}
	b, err := Open(Config{Prices: map[string]string{"a": "", "b": ""}})
	if err != nil || len(b.Current().Plans) != 3 {
		t.Fatalf("without a file: %v", err)
	}
	b.Close()
	b.Close() // does no harm
}

// lister is a meter that comes and changes.
type lister struct {
	mu     sync.Mutex
	meters []meter.Meter
	err    error
	asked  int
}

func (l *lister) set(err error, meters ...meter.Meter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.meters = err, meters
}

func (l *lister) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

func (l *lister) list(ctx context.Context) ([]meter.Meter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("the meter may take forever")
	}
	return l.meters, l.err
}

// Features whose meter is missing are told once and counted, and looked for again.
func TestMetersAreLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lister{err: errors.New("away")}
		b := open(t, Config{Meters: l.list})
		defer b.Close()
		minute := func() { time.Sleep(recheck); synctest.Wait() }
		synctest.Wait()
		minute()
		if l.count() != 2 || testutil.ToFloat64(b.missing) != 0 || strings.Contains(b.log.String(), "ERROR") {
			t.Errorf("asked %d times while the meter was away, the log says:\n%s", l.count(), b.log)
		}
		l.set(nil, meter.Meter{Slug: "agent_tokens", Aggregation: meter.Sum}, meter.Meter{Slug: "api_requests", Aggregation: meter.Max})
		minute()
		minute()
		if testutil.ToFloat64(b.missing) != 2 || strings.Count(b.log.String(), "ERROR") != 1 || !strings.Contains(b.log.String(), "town_interactions") {
			t.Errorf("%v are missing, the log says:\n%s", testutil.ToFloat64(b.missing), b.log)
		}
		l.set(nil, local.DefaultMeters()...)
		minute()
		if testutil.ToFloat64(b.missing) != 0 {
			t.Errorf("%v are missing", testutil.ToFloat64(b.missing))
		}
		before := l.count()
		minute()
		if l.count() != before {
			t.Error("the meter is asked for what it is known to have")
		}
	})
}

// New plans' meters are looked for at once.
func TestMetersOfNewPlans(t *testing.T) {
	file := temp(t, base)
	synctest.Test(t, func(t *testing.T) {
		b := open(t, Config{File: file, Meters: func(context.Context) ([]meter.Meter, error) { return local.DefaultMeters(), nil }})
		defer b.Close()
		synctest.Wait()
		b.write(strings.Replace(base, "meter: api_requests", "meter: nothing", 1))
		if testutil.ToFloat64(b.missing) != 1 || !strings.Contains(b.log.String(), "there is no meter nothing") {
			t.Errorf("%v are missing, the log says:\n%s", testutil.ToFloat64(b.missing), b.log)
		}
	})
}
