package meter_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kgents/kgents/meter"
)

// An error's text has the meter's words, without what they repeat of the events:
// the whole answer is in Detail, for the dead letter.
func TestWordsRepeatNothing(t *testing.T) {
	const batch = `[{"id":"evt-000001","subject":"customer-7","data":{"email":"eve@example.com","note":"ünïcode-ünïcode"}}]`
	for _, test := range []struct{ name, answer, want string }{
		{"its own words", "the key has expired", "the key has expired"},
		{"all of it", batch, "…"},
		{"all of it, in words", "refused: " + batch + ": too late", "refused: …: too late"},
		{"a value", "there is no customer-7, sorry", "there is no …, sorry"},
		{"two values", "customer-7 with eve@example.com", "… with …"},
		{"in a problem document", `{"title":"Bad","detail":"bad e-mail eve@example.com"}`, "bad e-mail …"},
		{"in JSON of its own", `{"error":"quota","who":"customer-7"}`, `{"error":"quota","who…}`},
		{"at the end of a rune", "is ünïcode-ünïcode", "is …"},
		{"much", strings.Repeat("x", 2000), strings.Repeat("x", 1024) + "…"},
		{"much in wide letters", "x" + strings.Repeat("é", 1000), "x" + strings.Repeat("é", 511) + "…"},
		{"a value across the cut", strings.Repeat("x", 1019) + "customer-7", strings.Repeat("x", 1019) + "custo…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, test.answer)
			}))
			defer s.Close()
			c, err := meter.NewClient(s.URL, "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Ingest(t.Context(), []byte(batch))
			e, ok := errors.AsType[*meter.Error](err)
			if !ok {
				t.Fatal(err)
			}
			if got := e.Words(); got != test.want {
				t.Errorf("words are %q, want %q", got, test.want)
			}
			if want := fmt.Sprintf("the meter answered 400: %s", test.want); err.Error() != want {
				t.Errorf("the error is %q, want %q", err, want)
			}
			if !strings.Contains(test.answer, e.Detail) {
				t.Errorf("the detail is %q, want all that the meter said", e.Detail)
			}
		})
	}
}
