package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/access"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/verify"
	"github.com/kgents/kgents/verify/deep"
)

// deepFlags are the flags of `verify --deep` alone.
type deepFlags struct {
	on                     bool
	namespace, kubeContext string
}

func (d *deepFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&d.on, "deep", false, "check the whole deployment: Kubernetes, NATS, every pod, a duplicate, Redis, the backlog")
	fl.StringVar(&d.namespace, "namespace", "", "with --deep: namespace of the deployment; else $KGENTS_NAMESPACE, the service account's, the kubeconfig's")
	fl.StringVar(&d.kubeContext, "context", "", "with --deep: context of the kubeconfig; else $KUBECONFIG, the service account, ~/.kube/config")
	words(cmd, "namespace")
	words(cmd, "context")
}

// settings reads what --deep looks at with the defaults of a deployment, not
// those of `kgents up`.
func (d *deepFlags) settings() (config.Config, error) {
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return config.Config{}, err
	}
	c, _, err := config.Load(config.RoleSink, config.Source{Env: os.LookupEnv, DotEnv: dotenv})
	return c, err
}

// run checks and reports. The error is errReported when a line does not pass.
func (d *deepFlags) run(ctx context.Context, cmd *cobra.Command, t *target, output string) error {
	w := cmd.OutOrStdout()
	c, err := d.settings()
	if err != nil {
		return err
	}
	namespace := d.namespace
	if namespace == "" {
		namespace = os.Getenv("KGENTS_NAMESPACE")
	}
	k8s, noCluster := cluster.Open(cluster.Options{Context: d.kubeContext, Namespace: namespace})
	if noCluster == nil {
		defer k8s.Close()
	}
	look := deep.Config{
		Cluster: k8s, ClusterError: noCluster,
		System: stream.Remote{
			Servers: c.NATSServers, Creds: c.NATSCreds,
			TLSCA: c.NATSTLSCA, TLSCert: c.NATSTLSCert, TLSKey: c.NATSTLSKey,
		},
		Stream: stream.Config{Name: c.StreamName, Replicas: c.Replicas},
		Redis:  c.RedisURL,
		Target: verify.Target{URL: t.URL, Key: t.Key},
		Settle: c.FlushInterval + time.Second,
	}
	if noCluster == nil && !k8s.Inside {
		done := fromOutside(ctx, cmd.ErrOrStderr(), k8s, t, c, &look)
		defer done()
	}
	report := deep.Run(ctx, look)
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(report)
	} else {
		printDeep(w, report)
	}
	if err == nil && !report.OK {
		err = errReported
	}
	return err
}

// fromOutside fills in what wasn't told, from what runs in the cluster, to be reached by
// tunnels. It tells w why something can't be: its line is then unknown.
func fromOutside(ctx context.Context, w io.Writer, k8s *cluster.Client, t *target, c config.Config, look *deep.Config) (done func()) {
	noURL := t.url == "" && os.Getenv("KGENTS_URL") == ""
	noNATS, noRedis := len(c.NATSServers) == 0, c.RedisURL == ""
	if !noURL && !noNATS && !noRedis {
		return func() {}
	}
	a := access.New(k8s, k8s.Look(ctx))
	told := map[string]bool{}
	missing := func(err error) {
		if err != nil && !told[err.Error()] {
			told[err.Error()] = true
			fmt.Fprintf(w, "not looked up in the cluster: %s\n", printable(err.Error()))
		}
	}
	api := a.API.Settings
	if noURL {
		look.Target.URL, look.Target.HTTP, look.Tunnels = a.APIURL, a.HTTP, true
		if t.keyFile == "" && len(c.APIKeys) == 0 { // that of a local 'kgents up' is none of these
			look.Target.Key = ""
			if len(api.APIKeys) > 0 {
				look.Target.Key = api.APIKeys[0]
			} else {
				missing(a.API.Err)
			}
		}
	}
	if noNATS {
		look.System = a.NATSSystem.Remote
		if a.NATSSystem.Err != nil {
			look.System = stream.Remote{}
			missing(a.NATSSystem.Err)
		} else {
			look.Stream = stream.Config{Name: a.Verify.Settings.StreamName, Replicas: a.Verify.Settings.Replicas}
		}
	}
	if noRedis {
		if look.Redis, look.RedisDial = api.RedisURL, k8s.DialContext; api.RedisURL == "" {
			missing(a.API.Err)
		}
	}
	return a.Close
}

// evidenceWidth leaves a table of 100 columns beside the other two.
const evidenceWidth = 68

// printDeep writes the table; what to do next stands below its line.
func printDeep(w io.Writer, r deep.Report) {
	s := term.StyleFor(w)
	marks := map[deep.Verdict]string{
		deep.Pass: s.Good("✓ pass"), deep.Fail: s.Bad("✗ fail"), deep.Unknown: s.Strong("? unknown"),
	}
	var rows [][]string
	counts, before := map[deep.Verdict]int{}, ""
	for _, line := range r.Lines {
		counts[line.Verdict]++
		first := []string{marks[line.Verdict], line.Check}
		for _, text := range wrap(printable(line.Evidence), evidenceWidth) {
			rows = append(rows, append(first, text))
			first = []string{"", ""}
		}
		next := line.Next
		if next == before && next != "" {
			next = "as above"
		}
		before = line.Next
		for i, text := range wrap(printable(next), evidenceWidth-2) {
			lead := "  "
			if i == 0 {
				lead = "→ "
			}
			rows = append(rows, []string{"", "", s.Faint(lead + text)})
		}
	}
	term.Table(w, s, []term.Column{{Title: "VERDICT"}, {Title: "CHECK"}, {Title: "EVIDENCE"}}, rows)
	fmt.Fprintln(w)
	if r.OK {
		fmt.Fprintf(w, "%s  all %d checks pass, in %s\n", s.Good("✓"), len(r.Lines), term.Duration(r.Took))
		return
	}
	fmt.Fprintf(w, "%s  %d pass, %d fail, %d unknown, in %s: unknown is no pass\n", s.Bad("✗"),
		counts[deep.Pass], counts[deep.Fail], counts[deep.Unknown], term.Duration(r.Took))
}

// wrap breaks text between words into lines of at most width runes; a word that
// is longer stands alone.
func wrap(text string, width int) (lines []string) {
	line, n := "", 0
	for word := range strings.FieldsSeq(text) {
		size := len([]rune(word))
		if n > 0 && n+1+size > width {
			lines, line, n = append(lines, line), "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+size
	}
	if n > 0 {
		lines = append(lines, line)
	}
	return lines
}
