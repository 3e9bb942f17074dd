package load

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ScratchStream is the stream that NATS measures on. It is none of ours, by name and
	// by subject: what it takes lies outside of kgent.> and kgent-dead.>.
	ScratchStream  = "KGENTS_LOAD_SCRATCH"
	scratchSubject = "kgents-load-scratch"

	// scratchAge is after how long the servers forget a scratch stream's messages, should
	// we be killed before we could delete it.
	scratchAge = time.Hour

	publishWait = 5 * time.Second // for one acknowledgement, as publish waits
	apiWait     = 10 * time.Second
)

// Bounds of a measurement.
const (
	MaxMessage    = 1_000_000 // bytes, as stream.MaxBodyBytes
	MaxPublishers = 64
	MaxWindow     = 1024
	MaxScratch    = 16 << 30 // bytes on each server
)

// NATSPlan is what to measure: publishers that each have so many messages under way at
// most, as replicas of `kgents api` have. Package publish has one.
type NATSPlan struct {
	Size       int // bytes of a message's body
	Publishers int
	Window     int           // messages under way, of each publisher
	Replicas   int           // copies of the stream
	For        time.Duration // how long to publish
	Warm       time.Duration // before that, not measured
	MaxBytes   int64         // stop earlier, when so much has been stored
}

// NATSResult is what came of it. Every message was acknowledged by the stream.
type NATSResult struct {
	Size       int           `json:"size_bytes"`
	Publishers int           `json:"publishers"`
	Window     int           `json:"window"`
	Replicas   int           `json:"replicas"`
	Messages   int           `json:"messages"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	PerSecond  float64       `json:"messages_per_second"`
	MBPerSec   float64       `json:"mb_per_second"` // of bodies, 10^6 bytes
	Ack        Latency       `json:"ack_latency_ns"`
	Failed     int           `json:"failed"` // publishes without an acknowledgement
	Reason     string        `json:"reason,omitempty"`
}

// NATS measures how fast a server, or a cluster, acknowledges messages of one size. It
// makes ScratchStream for that and deletes it afterwards, also when ctx ends; it touches
// no other. A stream of that name which is there already is an error: it may be another
// measurement's. Whether the server syncs before it acknowledges is the server's
// setting, which can't be seen from here.
func NATS(ctx context.Context, js jetstream.JetStream, p NATSPlan) (_ NATSResult, err error) {
	if err := p.check(); err != nil {
		return NATSResult{}, err
	}
	if err := p.makeStream(ctx, js); err != nil {
		return NATSResult{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiWait)
		defer cancel()
		if e := js.DeleteStream(ctx, ScratchStream); e != nil {
			err = errors.Join(err, fmt.Errorf("the stream %s is left behind, delete it by hand: %w", ScratchStream, e))
		}
	}()
	if p.Warm > 0 {
		warm := p
		warm.For = p.Warm
		if r := warm.publish(ctx, js, p.MaxBytes/4); r.Messages == 0 {
			return r, fmt.Errorf("nothing was acknowledged: %s", r.Reason)
		}
	}
	if err := ctx.Err(); err != nil {
		return NATSResult{}, err
	}
	r := p.publish(ctx, js, p.MaxBytes/2)
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case r.Messages == 0:
		return r, fmt.Errorf("nothing was acknowledged: %s", r.Reason)
	}
	return r, nil
}

func (p NATSPlan) check() error {
	for _, b := range []struct {
		what string
		err  error
	}{
		{"the size of a message", within(p.Size, 1, MaxMessage)},
		{"the number of publishers", within(p.Publishers, 1, MaxPublishers)},
		{"the window", within(p.Window, 1, MaxWindow)},
		{"the length", must(p.For > 0 && p.For <= time.Hour && p.Warm >= 0, "must be more than 0, and at most 1h")},
		{"the bound in bytes", must(p.MaxBytes >= 16*int64(p.Size) && p.MaxBytes <= MaxScratch, "must be at least 16 messages, and at most 16 GiB")},
	} {
		if b.err != nil {
			return fmt.Errorf("%s %w", b.what, b.err)
		}
	}
	if p.Replicas != 1 && p.Replicas != 3 && p.Replicas != 5 {
		return fmt.Errorf("the number of copies must be 1, 3 or 5, not %d", p.Replicas)
	}
	return nil
}

// makeStream makes the scratch stream, with the settings of ours that cost time.
func (p NATSPlan) makeStream(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, apiWait)
	defer cancel()
	// A stream with the same settings would be made again without an error.
	switch _, err := js.Stream(ctx, ScratchStream); {
	case err == nil:
		return fmt.Errorf("there is a stream %s already: another measurement runs, or one was killed; delete the stream if none runs", ScratchStream)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("the servers don't say whether there is a stream %s: %w (the NATS user must be the operator's)", ScratchStream, err)
	}
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: ScratchStream, Description: "A measurement of kgents load nats; may be deleted when none runs",
		Subjects: []string{scratchSubject}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxBytes: p.MaxBytes + 1<<20, MaxAge: scratchAge, Duplicates: 2 * time.Minute, Replicas: p.Replicas,
	})
	if err != nil {
		return fmt.Errorf("the stream %s can't be made: %w", ScratchStream, err)
	}
	return nil
}

// publish publishes for the plan's time, or until so many bytes are stored. What is under
// way at the end is waited for and counts, so each publisher has one message at least.
func (p NATSPlan) publish(ctx context.Context, js jetstream.JetStream, most int64) NATSResult {
	var (
		mu      sync.Mutex
		r       = NATSResult{Size: p.Size, Publishers: p.Publishers, Window: p.Window, Replicas: p.Replicas}
		acks    = newHistogram(figures)
		left    = most / int64(p.Size)
		workers sync.WaitGroup
		run     [8]byte
	)
	_, _ = crand.Read(run[:]) // never fails since Go 1.24
	began := time.Now()
	for n := range p.Publishers * p.Window {
		workers.Go(func() {
			own := newHistogram(figures)
			defer func() { mu.Lock(); acks.Merge(own); mu.Unlock() }()
			// As after compression: nothing that the server could make smaller.
			body, random := make([]byte, p.Size), rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
			_, _ = random.Read(body)
			for i := 0; ctx.Err() == nil && (i == 0 || time.Since(began) < p.For); i++ {
				mu.Lock()
				left--
				over := left < 0
				mu.Unlock()
				if over {
					return
				}
				err := p.one(ctx, js, fmt.Sprintf("%s-%d-%d", hex.EncodeToString(run[:]), n, i), body, own)
				if err != nil && ctx.Err() != nil {
					return // it was interrupted
				}
				mu.Lock()
				if err != nil {
					r.Failed++
					r.Reason = err.Error()
				} else {
					r.Messages++
				}
				mu.Unlock()
				if err != nil && wait(ctx, 50*time.Millisecond) != nil { // don't spin
					return
				}
			}
		})
	}
	workers.Wait()
	r.Elapsed = time.Since(began)
	r.PerSecond = float64(r.Messages) / r.Elapsed.Seconds()
	r.MBPerSec = r.PerSecond * float64(p.Size) / 1e6
	r.Ack = summary(acks)
	return r
}

// one publishes a message and waits for its acknowledgement, as package publish does.
func (p NATSPlan) one(ctx context.Context, js jetstream.JetStream, id string, body []byte, acks *hdrhistogram.Histogram) error {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	start := time.Now()
	_, err := js.PublishMsg(ctx, &nats.Msg{
		Subject: scratchSubject, Data: body,
		Header: nats.Header{nats.MsgIdHdr: {id}, "Content-Type": {"application/cloudevents-batch+json"}, "Content-Encoding": {"zstd"}},
	}, jetstream.WithExpectStream(ScratchStream), jetstream.WithRetryAttempts(0))
	if err == nil {
		add(acks, time.Since(start))
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
