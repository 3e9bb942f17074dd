package receive_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/receive"
)

// BenchmarkStranger is what it costs to refuse who has neither key nor secret: the
// figures in docs/saas/security.md.
func BenchmarkStranger(b *testing.B) {
	mux := http.NewServeMux()
	receive.New(receive.Config{
		Admitter: &admitter{}, Keys: receive.NewKeys([]string{key}), WebhookSecrets: []string{secret, secret + "2"},
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}).Register(mux)
	for _, bench := range []struct {
		name, path, signature string
		body                  int
	}{
		{"no key", events, "", 1 << 10},
		{"no signature", hooks, "", 1 << 20},
		{"forged 1KiB", hooks, signature("other", "whsec_other", time.Now()), 1 << 10},
		{"forged 1MiB", hooks, signature("other", "whsec_other", time.Now()), 1 << 20},
		{"forged 1KiB, 400 signatures", hooks, signature("other", "whsec_other", time.Now()) + strings.Repeat(",v1="+strings.Repeat("0", 64), 400), 1 << 10},
	} {
		b.Run(bench.name, func(b *testing.B) {
			content := make([]byte, bench.body)
			req := httptest.NewRequest(http.MethodPost, bench.path, nil)
			if bench.signature != "" {
				req.Header.Set("Stripe-Signature", bench.signature)
			}
			b.ReportAllocs()
			for b.Loop() {
				req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
				w := silent{header: http.Header{}}
				mux.ServeHTTP(&w, req)
				if w.status/100 != 4 {
					b.Fatalf("answer is %d", w.status)
				}
			}
		})
	}
}
