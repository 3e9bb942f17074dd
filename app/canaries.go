package app

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/verify"
)

// pairPatience bounds the meter's taking of a pair.
const pairPatience = 10 * time.Second

// serveCanaries answers POST /api/v1/canaries: it hands the meter the same canary
// more than once, past admission and stream, so that `kgents checklist` can see
// whether the meter deduplicates. Nobody pays for a canary, and what is sent is not
// the caller's choice.
func (a *App) serveCanaries(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pairPatience)
	defer cancel()
	id := rand.Text()
	subject := verify.Subject + "-" + id
	for _, batch := range verify.Pair(id, subject) {
		if err := a.meter.Ingest(ctx, batch); err != nil {
			if meter.Classify(err) == meter.Blocked {
				err = kgents.Errorf(kgents.CodeMisconfig, "the meter does not let this program in: check OPENMETER_API_KEY and OPENMETER_BASE_URL")
			} else {
				err = kgents.Unavailable(5*time.Second, "the meter does not answer: try again later", err)
			}
			receive.WriteProblem(w, r, err)
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": id, "subject": subject, "distinct": verify.Distinct})
}
