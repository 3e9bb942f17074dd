// Package access works out how each part of a deployment is reached from what runs
// in its namespace: which addresses, keys and CA the pods are given, through whichever
// Secrets their templates name today.
//
// It promises to write nothing to disk, to show no secret in an error, and to say for
// each part why it isn't known. It sends nothing: where Kubernetes is away, the
// Objects that it is given say so, and with them each part.
package access

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
)

// Names of what is deployed.
const (
	apiName    = "kgents-api"
	sinkName   = "kgents-sink"
	verifyName = "kgents-verify"
	backupName = "kgents-backup"
)

// patience bounds one request over HTTP.
const patience = time.Minute

// Access is how the parts of a deployment are reached. Every address in it is to be
// dialed by Client.DialContext, as HTTP and the users of NATS do.
type Access struct {
	Client *cluster.Client

	// HTTP reaches services of the cluster, and what is outside. It follows no
	// redirects, and takes the environment's proxy only for what is outside.
	HTTP *http.Client

	// The programs, as their pod templates have them.
	API, Sink, Verify, Backup Program

	// The users of NATS. System is that of the system account.
	NATSAPI, NATSSink, NATSBackup, NATSSystem User

	APIURL, SinkURL string // base URLs, by services
}

// Program is what a program of the deployment is told. Err is why all or some of it is
// not known; what is not known has its default in Settings.
type Program struct {
	Given    cluster.Given
	Settings config.Config
	Err      error
}

// User is a user of NATS. A connection must have its Name, since the server lets it
// read the answers in the inbox of that name only. Err is why the Remote can't be used.
type User struct {
	stream.Remote
	Name string
	Err  error
}

// New works it out. A Remote and HTTP can be used until the client is closed.
func New(c *cluster.Client, o *cluster.Objects) *Access {
	a := &Access{
		Client: c,
		HTTP: &http.Client{
			Timeout:       patience,
			Transport:     &http.Transport{Proxy: outsideOnly, DialContext: c.DialContext, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		SinkURL: "http://" + sinkName,
	}
	a.API = program(o, "Deployment", apiName, config.RoleAPI, deployment)
	a.Sink = program(o, "Deployment", sinkName, config.RoleSink, deployment)
	a.Verify = program(o, "CronJob", verifyName, config.RoleSink, cronJob)
	a.Backup = program(o, "CronJob", backupName, config.RoleSink, cronJob)
	a.NATSAPI = a.API.user(c, "kgents-api")
	a.NATSSink = a.Sink.user(c, "kgents-sink")
	a.NATSSystem = a.Verify.user(c, stream.SystemName)
	a.NATSBackup = a.Backup.user(c, "kgents-backup")
	told, _, _ := a.Verify.Given.Variable("KGENTS_URL") // else its default
	a.APIURL = strings.TrimRight(cmp.Or(told, "http://"+apiName), "/")
	return a
}

// Close gives idle connections back. The client stays open.
func (a *Access) Close() { a.HTTP.CloseIdleConnections() }

// outsideOnly is the environment's proxy for what is no service and no address of a
// pod: no proxy knows these.
func outsideOnly(r *http.Request) (*url.URL, error) {
	host := r.URL.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local") {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

func deployment(o *cluster.Objects, name string) (*corev1.PodSpec, error) {
	d, err := o.Deployments.Named(name)
	if err != nil {
		return nil, err
	}
	return &d.Spec.Template.Spec, nil
}

func cronJob(o *cluster.Objects, name string) (*corev1.PodSpec, error) {
	j, err := o.CronJobs.Named(name)
	if err != nil {
		return nil, err
	}
	return &j.Spec.JobTemplate.Spec.Template.Spec, nil
}

// program reads the settings of a workload's only container.
func program(o *cluster.Objects, kind, name string, role config.Role, find func(*cluster.Objects, string) (*corev1.PodSpec, error)) (p Program) {
	spec, err := find(o, name)
	if err != nil {
		return Program{Err: err}
	}
	if p.Given, p.Err = o.Given(kind+" "+name, *spec, ""); p.Err != nil {
		return p
	}
	settings, _, err := config.Load(role, config.Source{Env: func(variable string) (string, bool) {
		if strings.HasSuffix(variable, "_FILE") && isFile(variable) {
			return "", false // Setting has read it, where it is
		}
		value, err := p.Given.Setting(variable)
		if err != nil {
			p.Err = cmp.Or(p.Err, err)
		}
		return strings.ReplaceAll(strings.TrimSpace(value), "\n", ","), value != "" // as the program reads lists
	}})
	p.Settings = settings
	if err != nil {
		p.Err = cmp.Or(p.Err, fmt.Errorf("%s %s: %w", kind, name, err))
	}
	return p
}

// isFile says that a variable is the file of another's value.
func isFile(variable string) bool {
	for _, v := range config.Variables() {
		if v.Name == variable {
			return false
		}
	}
	return true
}

// user is the user of NATS whose key the program is given.
func (p Program) user(c *cluster.Client, name string) User {
	s := p.Settings
	u := User{Name: name, Remote: stream.Remote{Servers: s.NATSServers, Dial: c.DialContext}}
	_, wrong := errors.AsType[*config.Error](p.Err)
	switch {
	case wrong:
		u.Err = p.Err
		return u
	case len(s.NATSServers) == 0:
		u.Err = cmp.Or(p.Err, errors.New("NATS_SERVERS is not set"))
		return u
	case s.NATSTLSCert != "":
		u.Err = errors.New("NATS_TLS_CERT is set: a client's certificate can't be taken from the cluster; name all of NATS's variables here")
		return u
	}
	if s.NATSCreds != "" {
		content, err := p.Given.File(s.NATSCreds)
		if err == nil {
			u.Key, err = stream.NewKey(content)
		}
		if err != nil {
			u.Err = err
			return u
		}
	}
	if s.NATSTLSCA != "" {
		content, err := p.Given.File(s.NATSTLSCA)
		if err == nil {
			if u.Roots = x509.NewCertPool(); !u.Roots.AppendCertsFromPEM(content) {
				err = fmt.Errorf("%s holds no certificate", s.NATSTLSCA)
			}
		}
		u.Err = err
	}
	return u
}
