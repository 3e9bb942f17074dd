package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxBillingValue is of one value; a watermark or an alert has a few hundred bytes.
	maxBillingValue = 4 << 10

	// maxBillingBytes is room for a hundred thousand of them. When it is full nothing
	// new is reported or told, which their metrics show; nothing that is there is lost.
	maxBillingBytes = 64 << 20

	// BillingMarker is how long the trace of a deleted entry stays: longer than any
	// reader may lag, and not for ever, since alerts of a day come and go.
	BillingMarker = 24 * time.Hour
)

// BillingName is the bucket of what was told others about usage: the overage reported
// to Stripe (overage.…), the alerts sent (alert.…), and whose turn that is (turn.…).
func (c Config) BillingName() string { return c.Name + "-billing" }

// Billing makes that bucket, or brings the one it finds to these settings. It is safe
// to call from many processes at once.
func Billing(ctx context.Context, js jetstream.JetStream, c Config) (jetstream.KeyValue, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: c.BillingName(), Description: "What was reported of usage: overage to Stripe, alerts to the operator",
		Storage: jetstream.FileStorage, Replicas: c.Replicas, MaxValueSize: maxBillingValue, MaxBytes: maxBillingBytes, LimitMarkerTTL: BillingMarker,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", c.BillingName(), err)
	}
	return kv, nil
}
