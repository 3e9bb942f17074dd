package local

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/kgents/kgents/meter"
)

//go:embed meters.yaml
var defaultMeters []byte

// DefaultMeters are the meters used unless others are configured.
func DefaultMeters() []meter.Meter {
	meters, err := LoadMeters(defaultMeters)
	if err != nil {
		panic(err) // a test reads them too
	}
	return meters
}

// LoadMeters reads meters from YAML. The error names the line.
func LoadMeters(source []byte) ([]meter.Meter, error) {
	var file struct {
		Meters []struct {
			Slug          string            `yaml:"slug"`
			Name          string            `yaml:"name"`
			Description   string            `yaml:"description"`
			EventType     string            `yaml:"eventType"`
			Aggregation   string            `yaml:"aggregation"`
			ValueProperty string            `yaml:"valueProperty"`
			GroupBy       map[string]string `yaml:"groupBy"`
		} `yaml:"meters"`
	}
	if err := yaml.UnmarshalWithOptions(source, &file, yaml.Strict()); err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var meters []meter.Meter
	seen := map[string]bool{}
	for i, m := range file.Meters {
		out := meter.Meter{
			Slug: m.Slug, Name: m.Name, Description: m.Description, EventType: m.EventType,
			Aggregation: meter.Aggregation(strings.ToUpper(m.Aggregation)), ValueProperty: m.ValueProperty, GroupBy: m.GroupBy,
		}
		err := check(out)
		if err == nil && seen[m.Slug] {
			err = fmt.Errorf("the slug %q stands twice", m.Slug)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lineOf(source, i), err)
		}
		seen[m.Slug] = true
		meters = append(meters, out)
	}
	if len(meters) == 0 {
		return nil, errors.New("line 1: there are no meters: nothing would be counted")
	}
	return meters, nil
}

// lineOf returns the line where meter i begins.
func lineOf(source []byte, i int) int {
	path, err := yaml.PathString(fmt.Sprintf("$.meters[%d]", i))
	if err != nil {
		return 1
	}
	node, err := path.ReadNode(strings.NewReader(string(source)))
	if err != nil {
		return 1
	}
	return node.GetToken().Position.Line
}

var slug = regexp.MustCompile(`^[a-z0-9]+(?:_[a-z0-9]+)*$`)

// check holds a definition against what OpenMeter takes.
func check(m meter.Meter) error {
	aggregations := []meter.Aggregation{meter.Sum, meter.Count, meter.UniqueCount, meter.Avg, meter.Min, meter.Max, meter.Latest}
	switch {
	case !slug.MatchString(m.Slug) || len(m.Slug) > 64:
		return fmt.Errorf("the slug %.80q must be small letters, digits and single underscores, at most 64", m.Slug)
	case m.EventType == "":
		return fmt.Errorf("meter %s needs an eventType", m.Slug)
	case !slices.Contains(aggregations, m.Aggregation):
		return fmt.Errorf("meter %s: the aggregation %.40q must be one of %v", m.Slug, m.Aggregation, aggregations)
	case m.Aggregation == meter.Count && m.ValueProperty != "":
		return fmt.Errorf("meter %s counts events, so it takes no valueProperty", m.Slug)
	case m.Aggregation != meter.Count && m.ValueProperty == "":
		return fmt.Errorf("meter %s needs a valueProperty, for example $.amount", m.Slug)
	case m.EventFrom != nil && !writable(*m.EventFrom):
		return fmt.Errorf("meter %s: eventFrom must lie from the year 0 to 9999 in UTC", m.Slug)
	}
	if m.ValueProperty != "" {
		if _, err := parsePath(m.ValueProperty); err != nil {
			return fmt.Errorf("meter %s: valueProperty %w", m.Slug, err)
		}
	}
	for name, path := range m.GroupBy {
		if !slug.MatchString(name) || name == "subject" {
			return fmt.Errorf("meter %s: the groupBy name %.80q must be small letters, digits and underscores, and not subject", m.Slug, name)
		}
		if _, err := parsePath(path); err != nil {
			return fmt.Errorf("meter %s: groupBy %s: %w", m.Slug, name, err)
		}
	}
	return nil
}
