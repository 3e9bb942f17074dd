package plan

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const page = "../docs/saas/plans.md"

func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page explains every key that a file may have, and none that it may not.
func TestDocumentedKeys(t *testing.T) {
	text := readPage(t)
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")
	for heading, keys := range map[string][]string{
		"## The file": fileKeys, "### A feature": featureKeys, "### A plan": planKeys, "### A price": priceKeys,
		"### A rate": rateKeys, "### A limit": limitKeys, "### An overage": overageKeys,
	} {
		_, section, ok := strings.Cut(text, "\n"+heading+"\n")
		if !ok {
			t.Errorf("%s has no part %q", page, heading)
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		var got []string
		for _, m := range row.FindAllStringSubmatch(section, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != strings.Join(keys, " ") {
			t.Errorf("%q explains %q, a file may have %q", heading, got, keys)
		}
	}
}

// Every example of the page loads: a whole file as it is, a part within a plan.
func TestDocumentedExamples(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readPage(t), -1)
	whole, parts := 0, 0
	for _, m := range blocks {
		source := m[1]
		if strings.HasPrefix(source, "currency:") {
			whole++
		} else {
			parts++
			head, _, _ := strings.Cut(base, "  - id: pro\n")
			source = head + "  - id: pro\n    name: Pro\n    rate: unlimited\n    " + strings.ReplaceAll(strings.TrimSpace(source), "\n", "\n    ") + "\n"
			for key, line := range map[string]string{"limits:": "    limits: {}\n", "prices:": "    prices: [{ interval: month, amount: 1, lookup_key: k }]\n"} {
				if !strings.HasPrefix(m[1], key) {
					source += line
				}
			}
		}
		if _, err := Load([]byte(source)); err != nil {
			t.Errorf("the example does not load: %v\n%s", err, source)
		}
	}
	if whole < 1 || parts < 2 {
		t.Errorf("%d whole files and %d parts are in the page", whole, parts)
	}
}

// The mistakes in the page are what a file of ours with just these says.
func TestDocumentedMistakes(t *testing.T) {
	source := strings.NewReplacer("currency: usd", "currency: USD", "amount: 1900,", "amount: 19.00,").Replace(string(embedded))
	at := strings.LastIndex(source[:strings.Index(source, "- id: teams")], "citizens: 10")
	source = source[:at] + "citzens: 10" + source[at+len("citizens: 10"):]
	_, err := Load([]byte(source))
	if err == nil {
		t.Fatal("no mistake is seen")
	}
	if want := "```text\nkgents: plans.yaml: " + err.Error() + "\n```"; !strings.Contains(readPage(t), want) {
		t.Errorf("%s lacks\n%s", page, want)
	}
}

func TestDocumentedBounds(t *testing.T) {
	text := readPage(t)
	_, table, _ := strings.Cut(text, "\n## Bounds\n")
	for what, n := range map[string]int64{
		"features": MaxFeatures, "plans": MaxPlans, "prices of a plan": MaxPrices, "perks of a plan": MaxPerks, "percents of `alerts`": MaxAlerts,
		"a price's `amount`": MaxAmount, "a limit": MaxLimit, "`per_minute`": MaxRate, "`burst`": MaxBurst,
		"an overage's `amount`": MaxOverage, "an overage's `per`": MaxPer,
	} {
		if !strings.Contains(table, "| "+what+" | "+group(n)) {
			t.Errorf("the bound of %s is not given as %s", what, group(n))
		}
	}
	for _, want := range []string{
		"| the file | " + strconv.Itoa(MaxFile>>10) + " KiB |",
		"within 5 seconds", // every
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", page, want)
		}
	}
	for _, n := range []int{maxTrialDays, maxGraceDays, maxPercent} {
		if !strings.Contains(text, strconv.Itoa(n)) {
			t.Errorf("%s lacks the bound %d", page, n)
		}
	}
}
