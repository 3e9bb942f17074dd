package app_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
)

// freePort is below the range from which systems choose ports, so nobody takes it
// by chance before it is used.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// What the user can get wrong is one line that names the thing, and a start that
// fails gives back all it had.
func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	holder := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	file := func(t *testing.T, path, content string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, c *config.Config)
		says  []string
	}{
		{
			"port in use", func(_ *testing.T, c *config.Config) { c.APIPort = port },
			[]string{fmt.Sprintf("port %d", port), "in use", "--api-port"},
		},
		{
			"host of another machine", func(_ *testing.T, c *config.Config) { c.APIHost = "192.0.2.1" },
			[]string{"192.0.2.1:", "--api-host"},
		},
		{
			"data directory of a running one", func(_ *testing.T, c *config.Config) { c.DataDir = holder.Config().DataDir },
			[]string{holder.Config().DataDir, "in use", fmt.Sprintf("pid %d", os.Getpid()), "--data"},
		},
		{
			"data directory that is a file", func(t *testing.T, c *config.Config) { c.DataDir = file(t, filepath.Join(c.DataDir, "file"), "") },
			[]string{"data directory", "not a directory", "--data"},
		},
		{
			"no place for NATS", func(t *testing.T, c *config.Config) { file(t, filepath.Join(c.DataDir, "nats"), "") },
			[]string{"embedded NATS", "not a directory", "/nats"},
		},
		{
			"a broken database", func(t *testing.T, c *config.Config) {
				file(t, filepath.Join(c.DataDir, "meter.db"), strings.Repeat("no database ", 1000))
			},
			[]string{"embedded meter"},
		},
		{
			"no meters file", func(_ *testing.T, c *config.Config) { c.MetersFile = filepath.Join(c.DataDir, "none.yaml") },
			[]string{"METERS_FILE", "none.yaml"},
		},
		{
			"a broken meters file", func(t *testing.T, c *config.Config) {
				c.MetersFile = file(t, filepath.Join(c.DataDir, "meters.yaml"), "meters: [\n- ][")
			},
			[]string{"METERS_FILE", "meters.yaml"},
		},
		{
			"no credentials for NATS", func(_ *testing.T, c *config.Config) {
				c.NATSServers, c.NATSCreds = []string{"nats://127.0.0.1:1"}, filepath.Join(c.DataDir, "none.creds")
			},
			[]string{"NATS", "none.creds"},
		},
		{
			"no CA for NATS", func(_ *testing.T, c *config.Config) {
				c.NATSServers, c.NATSTLSCA = []string{"tls://127.0.0.1:1"}, filepath.Join(c.DataDir, "none.pem")
			},
			[]string{"NATS", "none.pem"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			c := settings(t, config.RoleUp, nil)
			c.APIPort = freePort(t)
			good := c
			test.spoil(t, &c)
			a, err := app.Start(t.Context(), config.RoleUp, c, slog.New(slog.DiscardHandler))
			if err == nil {
				a.Stop()
				t.Fatal("it starts")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is more than one line: %q", err)
			}
			for _, s := range test.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
			goleak.VerifyNone(t, before)
			for _, name := range []string{"nats", "meter.db"} { // what spoilt it
				if info, err := os.Stat(filepath.Join(good.DataDir, name)); err == nil && info.Mode().IsRegular() {
					os.Remove(filepath.Join(good.DataDir, name))
				}
			}
			start(t, config.RoleUp, good).stop() // neither port nor lock is held
		})
	}
}
