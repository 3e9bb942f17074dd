package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// Format is how a request asks for JSON or CSV. Embed it in a Table's In.
type Format struct {
	Format string `query:"format" enum:"json,csv" doc:"json or csv; without it the Accept header decides, and without that it is json"`
	Accept string `header:"Accept" hidden:"true"`
}

func (f Format) csv() bool {
	if f.Format != "" {
		return f.Format == "csv"
	}
	return negotiation.SelectQValue(f.Accept, []string{"application/json", "text/csv"}) == "text/csv"
}

// Sheet is what can be shown as a table. Cells are texts, numbers, times, or nil for an
// empty one.
type Sheet interface {
	Sheet() (name string, rows [][]any) // the first row has the titles
}

// Table adds a route that answers with Out as JSON or, where the request asks for it, as
// CSV (RFC 4180, UTF-8).
func Table[In interface{ csv() bool }, Out Sheet](a *API, r Route, f func(ctx context.Context, caller kgents.Principal, in *In) (Out, error)) {
	op := a.operation(r)
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Out](), true, r.ID)
	op.Responses = map[string]*huma.Response{"200": {Description: r.Summary, Content: map[string]*huma.MediaType{
		"application/json": {Schema: schema},
		"text/csv":         {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*huma.StreamResponse, error) {
		caller, err := r.let(ctx)
		if err != nil {
			return nil, receive.ProblemOf(err)
		}
		out, err := f(ctx, caller, in)
		if err != nil {
			return nil, receive.ProblemOf(err)
		}
		var body bytes.Buffer // an answer that can't be written whole is none
		h := http.Header{"Cache-Control": {"no-store"}, "Vary": {"Accept"}}
		if (*in).csv() {
			name, rows := out.Sheet()
			err = WriteCSV(&body, rows)
			h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
			h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(name)+".csv"))
		} else {
			err = json.NewEncoder(&body).Encode(out)
			h.Set("Content-Type", "application/json")
		}
		if err != nil {
			return nil, receive.ProblemOf(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			for name, values := range h {
				w.Header()[name] = append(w.Header()[name], values...)
			}
			_, _ = w.Write(body.Bytes()) // a client that has gone misses nothing
		}}, nil
	})
}

// WriteCSV writes rows. A text that a spreadsheet would take for a formula gets an
// apostrophe before it, as OWASP has it under CSV injection: what stands in a cell may be
// a stranger's words.
func WriteCSV(w io.Writer, rows [][]any) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	for _, row := range rows {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = cellText(cell)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func cellText(cell any) string {
	switch c := cell.(type) {
	case nil:
		return ""
	case int64:
		return strconv.FormatInt(c, 10)
	case float64:
		if c == math.Trunc(c) && math.Abs(c) < 1e18 {
			return strconv.FormatInt(int64(c), 10)
		}
		return strconv.FormatFloat(c, 'g', -1, 64)
	case time.Time:
		return c.UTC().Format(time.RFC3339)
	default:
		return harmless(fmt.Sprint(c))
	}
}

// harmless keeps a text from being a formula: those begin with one of these signs, also
// behind what can't be seen, and in the wide forms of East Asian input.
func harmless(text string) string {
	rest := strings.TrimLeftFunc(text, func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c)
	})
	if rest != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(rest)[0]) || text != "" && strings.ContainsRune("\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}

// fileName keeps of name what is harmless in a file's name on every system.
func fileName(name string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '_'
	}, name)
}
