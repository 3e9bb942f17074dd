package dashboard

import (
	"fmt"
	"strings"
)

// columns is the width of Grafana's grid. Heights are in its cells of about 30 pixels.
const (
	columns    = 24
	tall       = 8
	low        = 4
	headHeight = 1
)

// row is a heading with pictures below it, which fill the width one after another.
type row struct {
	title    string
	pictures []picture
}

// picture is a panel whose place is not known yet.
type picture struct{ Panel }

// arrange gives every panel a number and a place. Pictures go from left to right, and
// on to the next line where the width ends; a line is as high as its highest.
func arrange(rows []row) []Panel {
	var out []Panel
	y := 0
	add := func(p Panel) {
		p.ID = len(out) + 1
		out = append(out, p)
	}
	for _, r := range rows {
		open, none := false, []Panel{}
		add(Panel{Type: "row", Title: r.title, Collapsed: &open, Panels: &none, GridPos: GridPos{H: headHeight, W: columns, Y: y}})
		y += headHeight
		x, height := 0, 0
		for _, p := range r.pictures {
			if x+p.GridPos.W > columns {
				x, y, height = 0, y+height, 0
			}
			p.GridPos.X, p.GridPos.Y = x, y
			x, height = x+p.GridPos.W, max(height, p.GridPos.H)
			add(p.Panel)
		}
		y += height
	}
	return out
}

// chosen are the matchers of the variables. A query names its place with @: it stands
// for them alone in {@} and beside others in {@,type="x"}.
const chosen = `namespace=~"$namespace",job=~"$job",instance=~"$instance"`

// query is one of a panel's.
type query struct{ expr, legend string }

func q(expr, legend string) query { return query{strings.ReplaceAll(expr, "{@", "{"+chosen), legend} }

func (query query) target(i int) Target {
	return Target{
		RefID: string(rune('A' + i)), Datasource: prometheus, Expr: query.expr, LegendFormat: query.legend,
		EditorMode: "code", Range: true,
	}
}

func draw(kind string, w, h int, title, description, unit string, queries []query) picture {
	source := prometheus
	p := Panel{
		Type: kind, Title: title, Description: description, Datasource: &source, GridPos: GridPos{W: w, H: h},
		FieldConfig: &Fields{
			Defaults: Field{
				Unit: unit, Color: Color{Mode: "palette-classic"}, Mappings: []Mapping{},
				Thresholds: Thresholds{Mode: "absolute", Steps: []Step{{Color: green}}},
			},
			Overrides: []Override{},
		},
	}
	for i, query := range queries {
		p.Targets = append(p.Targets, query.target(i))
	}
	return picture{p}
}

type object = map[string]any

// graph draws lines over time.
func graph(w int, title, description, unit string, queries ...query) picture {
	p := draw("timeseries", w, tall, title, description, unit, queries)
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Custom = object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false,
		"axisPlacement": "auto", "stacking": object{"mode": "none", "group": "A"}, "thresholdsStyle": object{"mode": "off"},
	}
	p.Options = object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return p
}

// figure shows the last value, large, in the colour of its threshold.
func figure(w int, title, description, unit string, query query) picture {
	return numbers(w, title, description, unit, query)
}

func numbers(w int, title, description, unit string, queries ...query) picture {
	p := draw("stat", w, low, title, description, unit, queries)
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range = true, false
	}
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	p.Options = object{
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		"orientation":   "auto", "textMode": "auto", "colorMode": "background", "graphMode": "none", "justifyMode": "auto", "wideLayout": true,
		"showPercentChange": false,
	}
	return p
}

// bars shows how full things are, from empty to full.
func bars(w int, title, description, unit string, queries ...query) picture {
	p := numbers(w, title, description, unit, queries...).bounds(0, 1)
	p.Type, p.GridPos.H = "bargauge", tall
	p.Options = object{
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		"orientation":   "horizontal", "displayMode": "gradient", "valueMode": "color", "namePlacement": "auto", "showUnfilled": true,
		"sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
	}
	return p
}

// timeline shows words over time.
func timeline(w int, title, description string, words map[string]Word, queries ...query) picture {
	p := draw("state-timeline", w, tall, title, description, "none", queries)
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	p.FieldConfig.Defaults.Mappings = []Mapping{{Type: "value", Options: words}}
	p.FieldConfig.Defaults.Custom = object{"fillOpacity": 70, "lineWidth": 0}
	p.Options = object{
		"mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8,
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": object{"mode": "single", "sort": "none"},
	}
	return p
}

// heatmap shows how many observations of a histogram fell where, over time.
func heatmap(w int, title, description, histogram string) picture {
	p := draw("heatmap", w, tall, title, description, "short", []query{
		q(fmt.Sprintf("sum by (le) (increase(%s_bucket{@}[$__rate_interval]))", histogram), "{{le}}"),
	})
	p.Targets[0].Format, p.Targets[0].Exemplar = "heatmap", true
	p.FieldConfig.Defaults.Custom = object{"scaleDistribution": object{"type": "linear"}, "hideFrom": object{"legend": false, "tooltip": false, "viz": false}}
	p.Options = object{
		"calculate": false, "cellGap": 1, "showValue": "never",
		"color":        object{"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false},
		"exemplars":    object{"color": "rgba(255,0,255,0.7)"},
		"filterValues": object{"le": 1e-9},
		"legend":       object{"show": true},
		"rowsFrame":    object{"layout": "auto"},
		"tooltip":      object{"mode": "single", "yHistogram": true, "showColorScale": false},
		"yAxis":        object{"axisPlacement": "left", "reverse": false, "unit": "s"},
	}
	return p
}

// limit is where another colour begins.
type limit struct {
	value float64
	color string
}

// from colours values of at least value.
func from(value float64, color string) limit { return limit{value, color} }

// steps sets the thresholds: base below the first limit. A graph draws them as lines.
func (p picture) steps(base string, limits ...limit) picture {
	steps := []Step{{Color: base}}
	for _, l := range limits {
		steps = append(steps, Step{Color: l.color, Value: &l.value})
	}
	p.FieldConfig.Defaults.Thresholds.Steps = steps
	if custom, ok := p.FieldConfig.Defaults.Custom.(object); ok && p.Type == "timeseries" && len(limits) > 0 {
		custom["thresholdsStyle"] = object{"mode": "dashed"}
	}
	return p
}

func (p picture) bounds(low, high float64) picture {
	p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = &low, &high
	return p
}

// decimals are digits after the point.
func (p picture) decimals(n int) picture {
	p.FieldConfig.Defaults.Decimals = &n
	return p
}

// absent is shown where there is no value.
func (p picture) absent(text string) picture {
	p.FieldConfig.Defaults.NoValue = text
	return p
}

// words stand for values of a figure.
func (p picture) words(words map[string]Word) picture {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, Mapping{Type: "value", Options: words})
	return p
}

// stacked adds the lines up.
func (p picture) stacked() picture {
	custom := p.FieldConfig.Defaults.Custom.(object)
	custom["stacking"], custom["fillOpacity"] = object{"mode": "normal", "group": "A"}, 40
	return p
}

// apart gives one query's line a unit of its own, on the right-hand axis.
func (p picture) apart(refID, unit string) picture {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
		Matcher:    Matcher{ID: "byFrameRefID", Options: refID},
		Properties: []Property{{ID: "unit", Value: unit}, {ID: "custom.axisPlacement", Value: "right"}},
	})
	return p
}

// never is said of an age that is the time since 1970: it hasn't happened.
func (p picture) never(color string) picture {
	epoch := 1e9
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, Mapping{
		Type: "range", Options: Span{From: &epoch, Result: Word{Text: "never", Color: color}},
	})
	return p
}

// since is the age of the newest of the timestamps that processes know.
func since(metric string) string { return "time() - max(" + metric + "{@})" }

// quantile is that of a histogram over all replicas.
func quantile(of float64, histogram, matchers string) string {
	return fmt.Sprintf("histogram_quantile(%g, sum by (le) (rate(%s_bucket{@%s}[$__rate_interval])))", of, histogram, matchers)
}
