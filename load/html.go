package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kgents/kgents/term"
)

//go:embed report.html
var page string

var report = template.Must(template.New("report").Funcs(template.FuncMap{
	"duration": term.Duration,
	"number":   func(n int) string { return term.Number(float64(n)) },
	"date":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"rate": func(p Part) string {
		if p.For <= 0 {
			return "0"
		}
		return term.Number(float64(int(float64(p.Events) / p.For.Seconds())))
	},
	"status": func(f Failure) string {
		if f.Status == 0 {
			return "no answer"
		}
		return fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status))
	},
	"px":     func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) },
	"add":    func(a, b float64) float64 { return a + b },
	"sub":    func(a, b float64) float64 { return a - b },
	"mod":    func(i int) int { return i % 2 },
	"bottom": func() float64 { return chartHeight - chartBottom },
	"right":  func() float64 { return chartWidth - chartRight },
	"left":   func() float64 { return chartLeft },
	"top":    func() float64 { return chartTop },
	"width":  func() float64 { return chartWidth },
	"height": func() float64 { return chartHeight },
}).Parse(page))

// HTML writes the report as one page that needs nothing else: no script, no font, no
// request to anywhere.
func (r Report) HTML(w io.Writer) error {
	return report.Execute(w, struct {
		Report
		Charts []chart
		Notes  []string
		Scaled bool
	}{r, r.charts(), r.Notes(), r.Profile.scaled})
}
