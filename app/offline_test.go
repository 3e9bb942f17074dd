package app_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
)

// A server that does not answer is an error in the end, which names it without
// its password.
func TestOfflineNoServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c := config.Config{NATSServers: []string{"nats://someone:hunter2@127.0.0.1:1"}, StreamName: "events"}
	_, err := app.OpenOffline(ctx, c, app.Operator, true, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "NATS does not answer at") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("OpenOffline said %v", err)
	}
}
