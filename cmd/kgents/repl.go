package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/repl"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/term"
)

// replCommand is what `kgents repl` is told.
type replCommand struct {
	api                target
	model              modelFlags
	prometheus, alerts string
	namespace, context string
	observer           string
	state              directory
	script             string
	lines              []string
	output             string
	keepGoing          bool
	yes, auto, restore bool
	ambient            bool
	every              period
}

func newReplCommand() *cobra.Command {
	f := &replCommand{every: period(2 * time.Second)}
	cmd := &cobra.Command{
		Use:   "repl",
		Short: "A shell in which the whole living system is seen and changed, by paths or by words",
		Long: `A shell in which the whole living system is seen and changed: the API, NATS, the
meter, Stripe, customers, towns, alerts, the cluster, the runbook, each at a path. What
is mistyped is corrected, words are understood, Tab completes. Looking changes nothing;
a change shows what it would do and asks.

Where a model is configured, as for towns (TOWN_MODEL_URL) or by --model-url, it is
asked which of at most 20 paths words mean that this machine is not sure of. It sees no
name, id or figure, and can run nothing.

It starts also when nothing answers, and finds the system as soon as it does. A script
(--script, - is standard input; -c; or lines that are piped in) stops at the first line
that fails, with exit code 1; nothing in it is corrected, and a change needs [yes] or
--yes. What is no terminal and has no script gets a snapshot. A mistake in the flags is
exit code 2. NO_COLOR takes the colour from what is shown; the menu of Tab and the grey
rest of a line, which the line editor draws, keep theirs.`,
		Example: `  kgents repl
  kgents repl -c world.manifest
  echo world.nats.manifest | kgents repl
  kgents repl -c 'world.customers.manifest[plan=free]' --output json
  kgents repl --script morning.txt --keep-going
  kgents repl --ambient --every 5s
  kgents repl --url https://api.example.com --key-file operator.key --observer architect`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(noArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath()))
	})
	fl := cmd.Flags()
	f.api.addFlags(cmd)
	f.model.addFlags(cmd)
	fl.StringVar(&f.prometheus, "prometheus", "", "base URL of Prometheus; else $PROMETHEUS_URL")
	fl.StringVar(&f.alerts, "alertmanager", "", "base URL of Alertmanager; else $ALERTMANAGER_URL")
	fl.StringVar(&f.namespace, "namespace", "", "namespace of the deployment; else $KGENTS_NAMESPACE, the kubeconfig's")
	fl.StringVar(&f.context, "context", "", "context of the kubeconfig; else $KUBECONFIG, ~/.kube/config")
	fl.StringVar(&f.observer, "observer", "default", "who looks: default, explorer, developer, architect or admin")
	fl.StringVar(&f.script, "script", "", "run the lines of this file, - for standard input")
	fl.StringArrayVarP(&f.lines, "command", "c", nil, "run this line; may be given several times")
	fl.BoolVar(&f.keepGoing, "keep-going", false, "in a script: go on behind a line that fails")
	fl.StringVar(&f.output, "output", "table", "table, or json: a JSON document for each line")
	fl.BoolVar(&f.yes, "yes", false, "do changes without asking")
	fl.BoolVar(&f.auto, "auto", false, "run what words surely mean, if it only looks, without asking; not in a script")
	fl.BoolVar(&f.restore, "restore", false, "take up the last session's observer, too, not only its place")
	fl.Var(&f.state, "state", "directory for history, picks, notes and audit; else $XDG_STATE_HOME/kgents or ~/.local/state/kgents")
	fl.BoolVar(&f.ambient, "ambient", false, "show a live view until q")
	fl.Var(&f.every, "every", "with --ambient: how often")
	for _, flag := range []string{"prometheus", "alertmanager", "namespace", "context", "command", "every"} {
		words(cmd, flag)
	}
	var observers []string
	for _, o := range tree.Observers() {
		observers = append(observers, o.String())
	}
	words(cmd, "observer", observers...)
	words(cmd, "output", "table", "json")
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

// usageError is a mistake in how a command was called: exit code 2.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

func (f *replCommand) run(cmd *cobra.Command) error {
	o, done, err := f.options(cmd)
	if err != nil {
		return err
	}
	defer done()
	var script io.Reader = os.Stdin
	if f.script != "" && f.script != "-" {
		file, err := os.Open(f.script)
		if err != nil {
			return usage(fmt.Errorf("the script can't be read: %w", err))
		}
		defer file.Close()
		script = file
	}
	s, err := repl.New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	out, isFile := o.Out.(*os.File)
	atTerminal := isFile && !o.JSON && term.IsTerminal(out) && term.IsTerminal(os.Stdin)
	ctx := cmd.Context()
	switch {
	case f.script != "":
		name := f.script
		if name == "-" {
			name = "standard input"
		}
		err = s.Script(ctx, script, name, f.keepGoing)
	case len(f.lines) > 0:
		err = s.Commands(ctx, f.lines, f.keepGoing)
	case f.ambient && atTerminal:
		return s.Ambient(context.WithoutCancel(ctx), time.Duration(f.every))
	case f.ambient:
		return usage(errors.New("--ambient needs a terminal"))
	case atTerminal:
		// Ctrl-C stops a line and not the shell: it looks after signals itself.
		return s.Interactive(context.WithoutCancel(ctx))
	default:
		piped := bufio.NewReader(script)
		if !isPiped(os.Stdin) {
			err = s.Snapshot(ctx)
		} else if _, none := piped.Peek(1); none != nil {
			err = s.Snapshot(ctx)
		} else {
			err = s.Script(ctx, piped, "standard input", f.keepGoing)
		}
	}
	if errors.Is(err, repl.ErrFailed) {
		return errReported
	}
	return err
}

// isPiped says whether something may be written into a file from elsewhere: it is neither
// a terminal nor /dev/null.
func isPiped(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// options is the shell's part of the flags and the environment. done gives back what
// it has opened.
func (f *replCommand) options(cmd *cobra.Command) (o repl.Options, done func(), err error) {
	observer, err := tree.ParseObserver(strings.ToLower(f.observer))
	if err != nil {
		return o, nil, usage(fmt.Errorf("--observer: %w", err))
	}
	if err := oneOf("--output", f.output, "table", "json"); err != nil {
		return o, nil, usage(err)
	}
	if (f.script != "" && len(f.lines) > 0) || f.ambient && (f.script != "" || len(f.lines) > 0) {
		return o, nil, usage(errors.New("--script, -c and --ambient can't be had together"))
	}
	if every := time.Duration(f.every); every < 500*time.Millisecond || every > time.Hour {
		return o, nil, usage(errors.New("--every must be 500ms to 1h"))
	}
	if err := f.api.resolve(); err != nil {
		return o, nil, usage(err)
	}
	model, err := f.model.open(f.api.config)
	if err != nil {
		return o, nil, usage(err)
	}
	http := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	sources := &living.Sources{API: &client.Client{URL: f.api.URL, Key: f.api.Key, HTTP: http}, HTTP: http}
	for _, u := range []struct {
		flag, variable, value string
		to                    *string
	}{
		{"--prometheus", "PROMETHEUS_URL", f.prometheus, &sources.PrometheusURL},
		{"--alertmanager", "ALERTMANAGER_URL", f.alerts, &sources.AlertmanagerURL},
	} {
		from, value := u.flag, u.value
		if value == "" {
			from, value = u.variable, os.Getenv(u.variable)
		}
		if value == "" {
			continue
		}
		if err := checkURL(from, value); err != nil {
			return o, nil, usage(err)
		}
		*u.to = strings.TrimRight(value, "/")
	}
	opened, closeCluster := f.cluster()
	done = func() {
		closeCluster()
		http.CloseIdleConnections()
	}
	sources.Cluster = opened
	return repl.Options{
		Sources: sources, In: os.Stdin, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr(),
		Observer: observer, Chosen: cmd.Flags().Changed("observer"), Restore: f.restore,
		Model: model, AskModel: f.model.ask,
		Yes: f.yes, Auto: f.auto, JSON: f.output == "json", State: string(f.state),
	}, done, nil
}

// cluster opens Kubernetes when it is first asked for, once: reading a kubeconfig takes
// longer than a shell should to start.
func (f *replCommand) cluster() (open func() (*cluster.Client, error), done func()) {
	var mu sync.Mutex
	var kept *cluster.Client
	open = func() (*cluster.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		if kept != nil {
			return kept, nil
		}
		c, err := cluster.Open(cluster.Options{Context: f.context, Namespace: cmp.Or(f.namespace, os.Getenv("KGENTS_NAMESPACE"))})
		if err != nil {
			return nil, err
		}
		kept = c
		return c, nil
	}
	return open, func() {
		mu.Lock()
		defer mu.Unlock()
		if kept != nil {
			kept.Close()
		}
	}
}
