package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/memory"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/stream"
)

const key = "kg_bench"

// runServer is the process of one of the servers that `up` is compared with.
func runServer(kind, addr, dir, profiles string) error {
	handler, stop, err := handlerOf(kind, dir)
	if err != nil {
		return err
	}
	defer stop()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if profiles != "" {
		f, err := os.Create(filepath.Join(profiles, kind+".pprof"))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	server := &http.Server{Handler: handler}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("ready http://%s\n", l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handlerOf builds a server:
//
//	bare    decodes the event with encoding/json and answers 204
//	single  decodes it and publishes it as a JetStream message of its own, synced
//	edge    our receive, admit and publish stages, synced
func handlerOf(kind, dir string) (http.Handler, func(), error) {
	if kind == "bare" {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := decode(w, r); ok {
				w.WriteHeader(http.StatusNoContent)
			}
		}), func() {}, nil
	}
	log := slog.New(slog.DiscardHandler)
	nc, js, stop, err := openStream(dir, log)
	if err != nil {
		return nil, nil, err
	}
	if kind == "single" {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, ok := decode(w, r)
			if !ok {
				return
			}
			if _, err := js.Publish(r.Context(), stream.Subject, body); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}), stop, nil
	}
	reg := prometheus.NewRegistry()
	pub := publish.New(publish.Config{Sender: js, Stream: "bench", MaxPayload: nc.MaxPayload, Log: log, Registerer: reg})
	edge := receive.New(receive.Config{
		Admitter: admit.New(memory.New(memory.DefaultCapacity), pub, log, reg),
		Keys:     receive.NewKeys([]string{key}), Log: log, Registerer: reg,
	})
	mux := http.NewServeMux()
	edge.Register(mux)
	return mux, func() { pub.Close(); stop() }, nil
}

func openStream(dir string, log *slog.Logger) (*nats.Conn, jetstream.JetStream, func(), error) {
	server, err := stream.StartEmbedded(dir, log)
	if err != nil {
		return nil, nil, nil, err
	}
	nc, err := server.Connect("bench", log)
	if err != nil {
		return nil, nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, nil, err
	}
	_, err = stream.Ensure(context.Background(), js, stream.Config{Name: "bench", Replicas: 1})
	return nc, js, func() { nc.Close(); server.Stop() }, err
}

func decode(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(r.Body)
	var event struct {
		ID, Source, SpecVersion, Type, Subject string
		Time                                   time.Time
		Data                                   json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, false
	}
	return body, true
}

// server is a running process.
type server struct {
	url string
	cmd *exec.Cmd
	dir string
}

// self starts this program as a server of a kind, which leaves a CPU profile in
// profiles unless that is empty.
func self(kind, profiles string) func() (*server, error) {
	return func() (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return launch(func(dir string) *exec.Cmd {
			return exec.Command(self, "-serve", kind, "-dir", dir, "-profiles", profiles)
		}, "ready ")
	}
}

// up starts the whole program.
func (b *bench) up() (*server, error) {
	return launch(func(dir string) *exec.Cmd {
		cmd := exec.Command(b.binary, "up", "--data", dir, "--api-port", "0", "--log-level", "warn")
		cmd.Env = append(os.Environ(), "API_KEYS="+key, "STRIPE_WEBHOOK_SECRET=whsec_bench")
		return cmd
	}, "  health           ")
}

// launch starts a process and waits for the line that begins with prefix and
// holds its URL.
func launch(command func(dir string) *exec.Cmd, prefix string) (*server, error) {
	dir, err := os.MkdirTemp("", "kgents-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{cmd: command(dir), dir: dir}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			s.url = strings.TrimSuffix(url, "/health")
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s, nil
		}
	}
	s.stop()
	return nil, errors.New("it ended before it was ready")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}
