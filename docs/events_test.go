package docs_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/docs/saas"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/receive/cloudevents"
)

func section(t *testing.T, page, anchor string) string {
	t.Helper()
	s, ok := saas.Find(page, anchor)
	if !ok {
		t.Fatalf("%s has no section %s", page, anchor)
	}
	return s.Body
}

var (
	sent  = regexp.MustCompile(`(?s)-d '(\{.*?\})'`)
	named = regexp.MustCompile("^`([a-z]+)`$")
	yaml  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	size  = regexp.MustCompile(`at most ([0-9,]+) bytes`)
)

// The event that the page sends is one, and of its fields exactly those must be there
// that the table says.
func TestEventFields(t *testing.T) {
	m := sent.FindStringSubmatch(section(t, "events.md", "send-a-usage-event"))
	if m == nil {
		t.Fatal("the page sends no event")
	}
	var event map[string]any
	if err := json.Unmarshal([]byte(m[1]), &event); err != nil {
		t.Fatal(err)
	}
	read := func(change func(e map[string]any)) error {
		e := map[string]any{}
		for k, v := range event {
			e[k] = v
		}
		change(e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cloudevents.Decode("application/cloudevents+json", b, time.Now())
		return err
	}
	if err := read(func(map[string]any) {}); err != nil {
		t.Error(err)
	}
	bytes := map[string]int{"id": kgents.MaxIDBytes, "source": kgents.MaxSourceBytes, "type": kgents.MaxTypeBytes, "subject": kgents.MaxSubjectBytes}
	text := section(t, "events.md", "the-fields-of-an-event")
	seen := 0
	for _, row := range saas.Table(text)[1:] {
		name := named.FindStringSubmatch(row[0])
		if name == nil {
			t.Errorf("%s is no field", row[0])
			continue
		}
		seen++
		field := name[1]
		if err := read(func(e map[string]any) { delete(e, field) }); (err != nil) != (row[1] == "yes") {
			t.Errorf("%s, said to be needed: %s; without it %v", field, row[1], err)
		}
		if err := read(func(e map[string]any) { e[field] = []int{1} }); err == nil {
			t.Errorf("%s can be anything", field)
		}
		if most := bytes[field]; most > 0 {
			if m := size.FindStringSubmatch(row[2]); m == nil || m[1] != strconv.Itoa(most) {
				t.Errorf("%s may have %d bytes: %s", field, most, row[2])
			}
		}
	}
	if seen != 9 {
		t.Errorf("%d fields are told", seen)
	}
	if !strings.Contains(text, "900,000 bytes") || kgents.MaxEventBytes != 900_000 {
		t.Error("the largest event is another")
	}
	for _, source := range []string{kgents.SourceStripe, kgents.SourceTown} {
		if !strings.Contains(text, "`"+source+"`") {
			t.Errorf("%s is reserved, which is not said", source)
		}
	}
}

// Each answer of the table is one that is given.
func TestEventAnswers(t *testing.T) {
	var told []int
	for _, row := range saas.Table(section(t, "events.md", "when-an-event-is-refused"))[1:] {
		n, err := strconv.Atoi(row[0])
		if err != nil {
			t.Error(err)
		}
		told = append(told, n)
	}
	want := []int{http.StatusNoContent}
	for _, code := range []kgents.Code{
		kgents.CodeInvalid, kgents.CodeUnauthorized, kgents.CodeForbidden, kgents.CodeTooLarge, kgents.CodeRateLimited, kgents.CodeUnavailable,
	} {
		want = append(want, receive.ProblemOf(kgents.Errorf(code, "x")).Status)
	}
	if !slices.Equal(want, told) {
		t.Errorf("told are %v, given %v", told, want)
	}
}

// The meter of the page is one, and the keys of the table are those that it needs.
func TestMeterPage(t *testing.T) {
	m := yaml.FindStringSubmatch(section(t, "meters.md", "add-a-meter"))
	if m == nil {
		t.Fatal("the page adds no meter")
	}
	if meters, err := local.LoadMeters([]byte(m[1])); err != nil || len(meters) != 1 {
		t.Errorf("%v %v", meters, err)
	}
	text := section(t, "meters.md", "what-a-meter-is-made-of")
	for _, row := range saas.Table(text)[1:] {
		for key := range strings.SplitSeq(row[0], ", ") {
			key = strings.Trim(key, "`")
			line := regexp.MustCompile("(?m)^(  - |    )" + key + ":.*\n(      .*\n)*")
			if !line.MatchString(m[1]) {
				if key != "name" {
					t.Errorf("the meter of the page has no %s", key)
				}
				continue
			}
			without := line.ReplaceAllStringFunc(m[1], firstOf)
			if _, err := local.LoadMeters([]byte(without)); (err != nil) != (row[1] != "no") {
				t.Errorf("%s, said to be needed: %s; without it %v", key, row[1], err)
			}
		}
	}
	for _, a := range []meter.Aggregation{meter.Sum, meter.Count, meter.UniqueCount, meter.Avg, meter.Min, meter.Max, meter.Latest} {
		if !strings.Contains(text, "`"+string(a)+"`") {
			t.Errorf("%s is not told", a)
		}
	}
}

// firstOf keeps the dash of a list's first key, whose place the next one takes.
func firstOf(line string) string {
	if strings.HasPrefix(line, "  - ") {
		return "  - name: x\n"
	}
	return ""
}
