package receive

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet writes at most one line a second for each reason, and says how many it
// left out, so that a flood of bad requests is no flood of the log.
type quiet struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*silence
}

type silence struct {
	until    time.Time
	withheld int
}

func newQuiet(log *slog.Logger) *quiet {
	return &quiet{log: log, reasons: map[string]*silence{}}
}

// warn logs unless reason was logged within the last second. Reasons are ours,
// never a client's words, and so are few.
func (q *quiet) warn(ctx context.Context, reason, msg string, args ...any) {
	now := time.Now()
	q.mu.Lock()
	s := q.reasons[reason]
	if s == nil {
		s = &silence{}
		q.reasons[reason] = s
	}
	if now.Before(s.until) {
		s.withheld++
		q.mu.Unlock()
		return
	}
	withheld := s.withheld
	s.until, s.withheld = now.Add(time.Second), 0
	q.mu.Unlock()
	if withheld > 0 {
		args = append(args, "withheld", withheld)
	}
	q.log.WarnContext(ctx, msg, args...)
}
