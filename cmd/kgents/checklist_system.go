package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/checklist/checks"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/access"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

// systemFlags say which system `kgents checklist` looks at, and how it is reached.
type systemFlags struct {
	target     string
	api        target
	namespace  string
	context    string
	prometheus string
	alerts     string
	grafana    string
	secrets    string
	repository string
	peak       float64
	outage     period
}

func (f *systemFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.target, "target", "local", "local (a 'kgents up') or kubernetes")
	f.api.addFlags(cmd)
	f.api.addSecretFlag(cmd)
	fl.StringVar(&f.namespace, "namespace", "", "with kubernetes: namespace of the deployment; else $KGENTS_NAMESPACE, the kubeconfig's")
	fl.StringVar(&f.context, "context", "", "with kubernetes: context of the kubeconfig; else $KUBECONFIG, ~/.kube/config")
	fl.StringVar(&f.prometheus, "prometheus", "", "base URL of Prometheus; else $PROMETHEUS_URL")
	fl.StringVar(&f.alerts, "alertmanager", "", "base URL of Alertmanager; else $ALERTMANAGER_URL")
	fl.StringVar(&f.grafana, "grafana", "", "base URL of Grafana; else $GRAFANA_URL")
	fl.StringVar(&f.secrets, "secrets-dir", stagingSecrets, "directory of 'kgents secrets'")
	fl.StringVar(&f.repository, "repository", ".", "git work tree of the deployment's files")
	fl.Float64Var(&f.peak, "peak-rate", 1000, "highest rate to be expected, in events a second")
	f.outage = period(72 * time.Hour)
	fl.Var(&f.outage, "longest-outage", "longest outage of the meter that must fit, for example 3d")
	for _, flag := range []string{"namespace", "context", "prometheus", "alertmanager", "grafana", "peak-rate", "longest-outage"} {
		words(cmd, flag)
	}
	words(cmd, "target", "local", "kubernetes")
	_ = cmd.MarkFlagDirname("secrets-dir")
	_ = cmd.MarkFlagDirname("repository")
}

// open finds the system. done gives back what looking at it took.
func (f *systemFlags) open(ctx context.Context) (s *checks.System, done func(), err error) {
	if err := oneOf("--target", f.target, "local", "kubernetes"); err != nil {
		return nil, nil, err
	}
	if !(f.peak > 0) || math.IsInf(f.peak, 0) {
		return nil, nil, errors.New("--peak-rate must be more than 0 events a second")
	}
	if f.outage <= 0 {
		return nil, nil, errors.New("--longest-outage must be longer than nothing: use for example 3d")
	}
	s = &checks.System{
		Target: checklist.Target(f.target), Version: telemetry.ReadBuild().Version,
		SecretsDir: f.secrets, Repository: f.repository,
		PeakRate: f.peak, Outage: time.Duration(f.outage),
		HTTP: &http.Client{
			Timeout:       time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, u := range []struct {
		flag, variable, value string
		to                    *string
	}{
		{"--prometheus", "PROMETHEUS_URL", f.prometheus, &s.Prometheus},
		{"--alertmanager", "ALERTMANAGER_URL", f.alerts, &s.Alertmanager},
		{"--grafana", "GRAFANA_URL", f.grafana, &s.Grafana},
	} {
		from, value := u.flag, u.value
		if value == "" {
			from, value = u.variable, os.Getenv(u.variable)
		}
		if value == "" {
			continue
		}
		if err := checkURL(from, value); err != nil {
			return nil, nil, err
		}
		*u.to = value
	}
	if s.Target == checklist.Kubernetes {
		return f.kubernetes(ctx, s)
	}
	return f.local(s)
}

// local is a `kgents up`: what its data directory and the environment say of it.
func (f *systemFlags) local(s *checks.System) (*checks.System, func(), error) {
	if err := f.api.resolve(); err != nil {
		return nil, nil, err
	}
	if err := f.api.reach(); err != nil {
		return nil, nil, err
	}
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return nil, nil, err
	}
	c, _, err := config.Load(config.RoleUp, config.Source{Env: os.LookupEnv, DotEnv: dotenv})
	if err != nil {
		return nil, nil, err
	}
	c.DataDir = f.api.data
	s.Settings = c
	s.APIURL = f.api.URL
	s.APIKeys = withFirst(f.api.Key, c.APIKeys)
	s.WebhookSecrets = withFirst(f.api.Secret, c.WebhookSecrets)
	s.Stream = stream.Config{Name: c.StreamName, Replicas: c.Replicas, MaxBytes: c.StreamBytes}
	s.NATS = stream.Remote{Servers: c.NATSServers, Creds: c.NATSCreds, TLSCA: c.NATSTLSCA, TLSCert: c.NATSTLSCert, TLSKey: c.NATSTLSKey}
	s.RedisURL = c.RedisURL
	s.MeterURL, s.MeterKey = c.OpenMeterBaseURL, c.OpenMeterAPIKey
	return s, s.HTTP.CloseIdleConnections, nil
}

// withFirst is the values with one before them, unless it is empty or among them.
func withFirst(first string, values []string) []string {
	if first == "" {
		return values
	}
	out := []string{first}
	for _, v := range values {
		if v != first {
			out = append(out, v)
		}
	}
	return out
}

// kubernetes is a deployment, reached with the operator's kubeconfig: what its pods
// are given says where everything is, and tunnels lead there.
func (f *systemFlags) kubernetes(ctx context.Context, s *checks.System) (*checks.System, func(), error) {
	client, err := cluster.Open(cluster.Options{Context: f.context, Namespace: cmp.Or(f.namespace, os.Getenv("KGENTS_NAMESPACE"))})
	if err != nil {
		return nil, nil, err
	}
	objects := client.Look(ctx)
	if err := errors.Join(objects.Deployments.Err, objects.Pods.Err); err != nil {
		client.Close()
		return nil, nil, err
	}
	if _, err := objects.Deployments.Named("kgents-api"); err != nil {
		client.Close()
		return nil, nil, fmt.Errorf("the namespace %s has no deployment kgents-api: name another with --namespace or --context, or look at this machine with --target local", client.Namespace)
	}
	reached := access.New(client, objects)
	api := reached.API.Settings
	s.Cluster, s.HTTP = client, reached.HTTP
	s.Namespace = client.Namespace
	s.APIURL, s.SinkURL = reached.APIURL, reached.SinkURL
	if f.api.url != "" {
		if err := checkURL("--url", f.api.url); err != nil {
			client.Close()
			return nil, nil, err
		}
		s.APIURL = f.api.url
	}
	s.APIKeys, s.WebhookSecrets = api.APIKeys, api.WebhookSecrets
	s.NATS, s.NATSSystem = reached.NATSAPI.Remote, reached.NATSSystem.Remote
	s.Stream = stream.Config{Name: api.StreamName, Replicas: api.Replicas, MaxBytes: api.StreamBytes}
	s.RedisURL, s.RedisDial = api.RedisURL, client.DialContext
	s.MeterURL, s.MeterKey = api.OpenMeterBaseURL, api.OpenMeterAPIKey
	if s.Settings, err = f.backups(reached.Backup.Settings); err != nil {
		client.Close()
		return nil, nil, err
	}
	if place := s.Settings.BackupURL; place != "" && place == reached.Backup.Settings.BackupURL && !strings.Contains(place, "://") {
		s.BackupVolume, s.Settings.BackupURL = place, ""
	}
	return s, func() { reached.Close(); client.Close() }, nil
}

// backups is where the deployment's backups are: where the operator's environment says,
// who may hold the identity that no pod has, else where the deployment puts them.
func (f *systemFlags) backups(deployed config.Config) (config.Config, error) {
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return config.Config{}, err
	}
	here, _, err := config.Load(config.RoleSink, config.Source{Env: os.LookupEnv, DotEnv: dotenv})
	if err != nil {
		return config.Config{}, err
	}
	if here.BackupURL != "" {
		return here, nil
	}
	deployed.BackupIdentities = here.BackupIdentities
	return deployed, nil
}
