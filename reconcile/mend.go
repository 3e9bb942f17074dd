package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

const (
	// mendEvents and mendBytes cut a batch that is sent again.
	mendEvents = 500
	mendBytes  = stream.MaxBodyBytes

	// firstLook is how long after sending the meter is asked first; the pause
	// doubles up to longestLook.
	firstLook   = 100 * time.Millisecond
	longestLook = 5 * time.Second
)

// mend sends the missing entries again and looks for them until they are listed,
// or patience is over.
func (r *run) mend(ctx context.Context, w *window, missing []int32) error {
	if err := r.resend(ctx, w, missing); err != nil {
		return err
	}
	var err error
	deadline := time.Now().Add(r.Patience)
	for wait, left := firstLook, missing; len(left) > 0; wait = min(2*wait, longestLook) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, max(0, time.Until(deadline)))):
		}
		last := !time.Now().Before(deadline)
		if err = r.scattered(ctx, w, left); err != nil {
			break
		}
		if left = w.open(left); last {
			break
		}
	}
	for _, i := range missing {
		if w.entries[i].found {
			r.tally.mended(w.entries[i].id)
		}
	}
	return err
}

// resend sends the missing entries again, byte for byte, in batches.
func (r *run) resend(ctx context.Context, w *window, missing []int32) error {
	var batch [][]byte
	size := 0
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := r.ingest(ctx, batch)
		batch, size = nil, 0
		return err
	}
	err := r.fetch(ctx, w, missing, func(_ int32, e element) error {
		if len(batch) >= mendEvents || size+len(e.raw) > mendBytes {
			if err := send(); err != nil {
				return err
			}
		}
		batch = append(batch, e.raw)
		size += len(e.raw)
		return nil
	})
	if err == nil {
		err = send()
	}
	if err != nil {
		return fmt.Errorf("sending missing events again: %w", err)
	}
	return nil
}

// ingest sends a batch, and in halves what the meter refuses. An event that it
// refuses alone stays missing.
func (r *run) ingest(ctx context.Context, batch [][]byte) error {
	err := r.send(ctx, batch)
	if err == nil || meter.Classify(err) != meter.Refused {
		return err
	}
	if len(batch) == 1 {
		r.Log.Warn("the meter refuses an event that it has taken before, it stays missing", "error", err)
		return nil
	}
	middle := len(batch) / 2
	if err := r.ingest(ctx, batch[:middle]); err != nil {
		return err
	}
	return r.ingest(ctx, batch[middle:])
}

// send makes one request, and again while the meter is away.
func (r *run) send(ctx context.Context, batch [][]byte) error {
	body := append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
	return r.attempt(ctx, func() error { return r.Meter.Ingest(ctx, body) })
}
