package secrets_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/secrets"
)

const day = 24 * time.Hour

// recorded is the directory's record, as a cluster gets it.
func recorded(t *testing.T, dir string) map[string]map[string]time.Time {
	t.Helper()
	out := map[string]map[string]time.Time{}
	if err := json.Unmarshal([]byte(read(t, dir, secrets.AgesKey)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// record makes every secret of the directory as old as that.
func record(t *testing.T, dir string, old time.Duration) {
	t.Helper()
	out := recorded(t, dir)
	for _, e := range out {
		e["made"] = time.Now().Add(-old)
	}
	b, err := json.Marshal(out)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, secrets.AgesKey), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// problems are what is wrong at a time, by secret.
func problems(t *testing.T, all []secrets.Age, now time.Time) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, a := range all {
		if p := a.Problem(now); p != "" {
			out[a.Name] = p
		}
	}
	return out
}

func ages(t *testing.T, dir string) []secrets.Age {
	t.Helper()
	all, err := secrets.Ages(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every secret has an age from the day on that it was made, a period, and a day on
// which it is due; a rotation makes it new, and is itself not for ever.
func TestAges(t *testing.T) {
	dir := made(t)
	now := time.Now()
	var names []string
	for _, a := range ages(t, dir) {
		names = append(names, a.Name)
		if now.Sub(a.Made).Abs() > time.Minute || a.Period < 30*day || a.Period > 366*day || a.Due() != a.Made.Add(a.Period) || !a.Rotating.IsZero() {
			t.Errorf("%+v", a)
		}
		for at, wrong := range map[time.Time]bool{now: false, a.Due().Add(-time.Second): false, a.Due(): true} {
			if got := a.Problem(at); (got != "") != wrong {
				t.Errorf("%s, %v after it was made: %q", a.Name, at.Sub(a.Made), got)
			}
		}
	}
	if diff := cmp.Diff(secrets.Names(), names); diff != "" {
		t.Errorf("secrets with an age (-want +got):\n%s", diff)
	}

	record(t, dir, 200*day)
	got := problems(t, ages(t, dir), now)
	for name, old := range map[string]bool{"redis": true, "webhook-secret": true, "backup-identity": false, "nats-tls": false} {
		if strings.Contains(got[name], "was to be rotated") != old {
			t.Errorf("%s after 200 days: %q", name, got[name])
		}
	}
	if err := secrets.Rotate(dir, "redis", ""); err != nil {
		t.Fatal(err)
	}
	all := ages(t, dir)
	if p := problems(t, all, now.Add(6*day))["redis"]; p != "" {
		t.Errorf("6 days after a rotation began: %q", p)
	}
	if p := problems(t, all, now.Add(8*day))["redis"]; !strings.Contains(p, "--finish") {
		t.Errorf("8 days after a rotation began: %q", p)
	}
	if err := secrets.Finish(dir, "redis"); err != nil {
		t.Fatal(err)
	}
	if p := problems(t, ages(t, dir), now.Add(8*day))["redis"]; p != "" {
		t.Errorf("after its end: %q", p)
	}
	if p := problems(t, ages(t, dir), now)["api-key"]; p == "" {
		t.Error("a rotation of one secret made another one young")
	}
}

// What a cluster is given says the same as the directory, and no value.
func TestAgesInACluster(t *testing.T) {
	dir := made(t)
	if err := secrets.Rotate(dir, "nats-api", ""); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Rotate(dir, "nats-tls", ""); err != nil {
		t.Fatal(err)
	}
	text := read(t, dir, secrets.AgesKey)
	got, err := secrets.ReadAges([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ages(t, dir), got); diff != "" {
		t.Errorf("(-directory +record):\n%s", diff)
	}
	for name, e := range recorded(t, dir) {
		for what := range e {
			if what != "made" && what != "rotating" {
				t.Errorf("%s has %q", name, what)
			}
		}
	}
	for _, broken := range []string{"", "x", "[]", `{"redis": {"made": "soon"}}`} {
		if _, err := secrets.ReadAges([]byte(broken)); err == nil || !strings.Contains(err.Error(), "ages.json") {
			t.Errorf("%q: %v", broken, err)
		}
	}
	all, err := secrets.ReadAges([]byte(`{"redis": {"made": "2026-01-02T03:04:05Z"}, "of a newer program": {}}`))
	if err != nil || len(all) != len(secrets.Names()) || len(problems(t, all, time.Now())) != len(all) {
		t.Errorf("%d ages, %v: of an old one and others that are not known", len(all), err)
	}
}

// A directory from before there was a record has ages that are not known, which is a
// problem until each is rotated; what is made later has one at once.
func TestAgesNotKnown(t *testing.T) {
	dir := made(t)
	for _, name := range []string{secrets.AgesKey, "nats/operator.nk", "nats/users.env"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	made, err := secrets.Init(dir, namespace)
	if diff := cmp.Diff([]string{"nats/operator.nk", "nats/users.env", secrets.AgesKey}, made); diff != "" || err != nil {
		t.Errorf("made (-want +got), %v:\n%s", err, diff)
	}
	for _, a := range ages(t, dir) {
		known := a.Name == "nats-operator" || a.Name == "nats-tls"
		if a.Made.IsZero() == known || (a.Problem(time.Now()) == "") != known || a.Due().IsZero() == known {
			t.Errorf("%s: %+v, %q", a.Name, a, a.Problem(time.Now()))
		}
	}
	if err := secrets.Rotate(dir, "api-key", ""); err != nil {
		t.Fatal(err)
	}
	if p := problems(t, ages(t, dir), time.Now())["api-key"]; p != "" {
		t.Errorf("after a rotation: %q", p)
	}
	if err := os.WriteFile(filepath.Join(dir, secrets.AgesKey), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Ages(dir); err == nil || !strings.Contains(err.Error(), "mend it") {
		t.Errorf("a broken record: %v", err)
	}
	if _, err := secrets.Ages(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "secrets init") {
		t.Errorf("without files: %v", err)
	}
}

// Who keeps what opens backups elsewhere sees the rest, and its age stays.
func TestListWithoutTheIdentity(t *testing.T) {
	dir := made(t)
	record(t, dir, 100*day)
	if err := os.Remove(filepath.Join(dir, "backup/identity.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Init(dir, namespace); err != nil {
		t.Fatal(err)
	}
	all, err := secrets.List(dir, time.Now())
	if err != nil || len(all) != len(secrets.Names()) {
		t.Fatalf("%d secrets, %v", len(all), err)
	}
	for _, s := range all {
		if s.Name == "backup-identity" && time.Since(s.Changed) < 99*day {
			t.Errorf("%+v", s)
		}
	}
	if err := os.Remove(filepath.Join(dir, "redis.env")); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.List(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "secrets init") {
		t.Errorf("without Redis's: %v", err)
	}
}
