package living

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// prometheus answers range queries with 1 at each step from a time to another, as a
// server does that has begun at the first and whose series has ended at the second.
func prometheus(t *testing.T, from, until time.Time, firing bool) *Sources {
	t.Helper()
	seconds := func(r *http.Request, key string) float64 {
		f, err := strconv.ParseFloat(r.FormValue(key), 64)
		if err != nil {
			t.Errorf("%s is %q", key, r.FormValue(key))
		}
		return f
	}
	const alert = `"alertname":"Late","severity":"warning"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/alerts") {
			one := `{"labels":{` + alert + `},"annotations":{},"state":"firing","activeAt":"2026-01-01T00:00:00Z","value":"1"}`
			if !firing {
				one = ""
			}
			fmt.Fprintf(w, `{"status":"success","data":{"alerts":[%s]}}`, one)
			return
		}
		var values []string
		for at := seconds(r, "start"); at <= seconds(r, "end"); at += seconds(r, "step") {
			if is := time.UnixMilli(int64(at * 1000)); !is.Before(from) && !is.After(until) {
				values = append(values, fmt.Sprintf(`[%f,"1"]`, at))
			}
		}
		metric := ""
		if strings.Contains(r.FormValue("query"), "ALERTS") {
			metric = alert
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{%s},"values":[%s]}]}}`, metric, strings.Join(values, ","))
	}))
	t.Cleanup(server.Close)
	return &Sources{PrometheusURL: server.URL, HTTP: server.Client()}
}

// Where less is kept than is asked for, what there is is looked at closer, unless
// somebody has said how close; the last point is of now.
func TestSeriesOfAYoungPrometheus(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 7, 0, time.UTC)
	for _, test := range []struct {
		name         string
		kept         time.Duration
		step         time.Duration
		points       int
		apart, since time.Duration // since is how long ago it is said to begin
	}{
		{"all of it", 100 * time.Hour, 0, 61, 6 * time.Minute, 6 * time.Hour},
		{"nearly all", 350 * time.Minute, 0, 59, 6 * time.Minute, 354 * time.Minute},
		{"an hour", time.Hour, 0, 55, 66 * time.Second, time.Hour},
		{"ten minutes", 10 * time.Minute, 0, 51, 12 * time.Second, 10 * time.Minute},
		{"an hour, as close as is said", time.Hour, 10 * time.Minute, 7, 10 * time.Minute, 70 * time.Minute},
	} {
		p, err := prometheus(t, now.Add(-test.kept), now, false).Series(t.Context(), now.Add(-6*time.Hour), now, test.step, Ask{Name: "kgents_backlog_messages"})
		if err != nil {
			t.Fatal(err)
		}
		points := p.Series[0].Points
		if n := len(points); n != test.points {
			t.Errorf("%s: %d points, want about %d", test.name, n, test.points)
		}
		if p.Step != test.apart || points[1].Time.Sub(points[0].Time) != test.apart || !points[len(points)-1].Time.Equal(now) {
			t.Errorf("%s: from %s to %s each %s, want each %s to now", test.name, points[0].Time, points[len(points)-1].Time, p.Step, test.apart)
		}
		if said := now.Sub(p.Since); said < test.since-test.apart || said > test.since+test.apart {
			t.Errorf("%s: said to be known for %s, want about %s", test.name, said, test.since)
		}
	}
}

// An alert that fires now goes on; one that has ended doesn't, however far apart one looks.
func TestFired(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 7, 0, time.UTC)
	type is struct {
		Still    bool
		Before   bool
		For, Ago time.Duration // how long it fired, and how long ago it ended
	}
	for _, test := range []struct {
		name        string
		since       time.Duration
		from, until time.Duration // ago
		firing      bool
		want        []is
	}{
		{"for long, and now", 24 * time.Hour, 10 * time.Hour, 0, true, []is{{true, false, 9*time.Hour + 59*time.Minute + 15*time.Second, 0}}},
		{"since just now", 24 * time.Hour, 10 * time.Second, 0, true, []is{{true, false, 0, 0}}},
		{"ended a minute ago", 24 * time.Hour, time.Hour, time.Minute, false, []is{{false, false, 58 * time.Minute, 87 * time.Second}}},
		{"ended a minute ago, looked at closely", 30 * time.Minute, 10 * time.Minute, time.Minute, false, []is{{false, false, 9 * time.Minute, time.Minute}}},
		{"ended within the last step", 24 * time.Hour, time.Hour, 0, false, []is{{false, false, 59*time.Minute + 27*time.Second, 0}}},
		{"since before, and now", time.Hour, 10 * time.Hour, 0, true, []is{{true, true, time.Hour, 0}}},
		{"since before, and ended", time.Hour, 10 * time.Hour, 20 * time.Minute, false, []is{{false, true, 40 * time.Minute, 20 * time.Minute}}},
		{"before", time.Hour, 10 * time.Hour, 5 * time.Hour, false, nil},
	} {
		s := prometheus(t, now.Add(-test.from), now.Add(-test.until), test.firing)
		fired, exact, err := s.Fired(t.Context(), now.Add(-test.since), now, "")
		if err != nil {
			t.Fatal(err)
		}
		var got []is
		for _, f := range fired {
			got = append(got, is{f.Still, f.Before, f.Until.Sub(f.From), now.Sub(f.Until)})
		}
		near := cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= exact })
		if diff := cmp.Diff(test.want, got, near); diff != "" {
			t.Errorf("%s, within %s (-want +got):\n%s", test.name, exact, diff)
		}
	}
}
