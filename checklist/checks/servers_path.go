package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/system"
)

// lateAfter is the age of an event that is not metered past which the sink does not
// keep up. The API calls itself degraded from the same age on.
const lateAfter = 2 * time.Minute

// program is what one program says of itself.
type program struct {
	Program
	health struct{ Role, Version string }
	saas   struct {
		NATS struct {
			Status, Circuit string
			Spooled         int `json:"spooled_events"`
		}
	}
	report *reported // nil of the meter, and where no key is known
	date   time.Time // by the answer's header, cut to the second; sent and received around it
	sent   time.Time
	came   time.Time
	err    error
}

// programs asks each by itself. Without a list it is the one at the API's address.
func (a *serverArea) programs(ctx context.Context) ([]program, error) {
	return a.seen.get(ctx, programPatience, a.programsNow)
}

func (a *serverArea) programsNow(ctx context.Context) ([]program, error) {
	list := a.Programs
	if o := a.Objects(ctx); o != nil && len(list) == 0 {
		if o.Pods.Err != nil {
			return nil, &gap{o.Pods.Err.Error(), "use an account that may list pods: 'kubectl auth can-i list pods'"}
		}
		list = programsOf(o.Pods.Items)
	}
	switch {
	case len(list) > 0:
	case a.Target == checklist.Kubernetes:
		return nil, &gap{"the pods of api, sink and meter are not known", "use an account that may list pods: 'kubectl auth can-i list pods'"}
	case a.APIURL == "":
		return nil, &gap{noAPI.Evidence, noAPI.Next}
	default:
		list = []Program{{"the program", a.APIURL}}
	}
	out := make([]program, len(list))
	slots := make(chan struct{}, 8)
	var looks sync.WaitGroup
	for i, p := range list {
		looks.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = a.look(ctx, p)
		})
	}
	looks.Wait()
	return out, nil
}

// port is the pods'.
const port = "8000"

// programsOf are the pods that run this program and are not ending.
func programsOf(pods []corev1.Pod) (out []Program) {
	for _, p := range pods {
		switch p.Labels["app.kubernetes.io/name"] {
		case "kgents-api", "kgents-sink", "kgents-meter":
		default:
			continue
		}
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		one := Program{Name: p.Name}
		if p.Status.PodIP != "" {
			one.URL = "http://" + net.JoinHostPort(p.Status.PodIP, port)
		}
		out = append(out, one)
	}
	return out
}

func (a *serverArea) look(ctx context.Context, which Program) program {
	p := program{Program: which}
	if which.URL == "" {
		p.err = fmt.Errorf("%s has no address yet", which.Name)
		return p
	}
	p.sent = time.Now()
	health, err := a.send(ctx, request{method: http.MethodGet, url: which.URL + "/health"})
	p.came = time.Now()
	if err != nil {
		p.err = fmt.Errorf("%s does not answer: %w", which.Name, err)
		return p
	}
	p.date, _ = http.ParseTime(health.header.Get("Date"))
	if json.Unmarshal(health.body, &p.health) != nil || p.health.Role == "" {
		p.err = fmt.Errorf("%s is no kgents: /health answered %d", which.Name, health.status)
		return p
	}
	if p.health.Role == string(config.RoleMeter) {
		return p
	}
	saas, err := a.send(ctx, request{method: http.MethodGet, url: which.URL + "/health/saas"})
	if err == nil {
		err = json.Unmarshal(saas.body, &p.saas)
	}
	if err != nil {
		p.err = fmt.Errorf("%s: /health/saas: %w", which.Name, err)
		return p
	}
	if len(a.APIKeys) > 0 {
		if r, err := a.ask(ctx, which.URL); err == nil {
			p.report = &r
		}
	}
	return p
}

// publishes says whether the program takes events from outside.
func (p program) publishes() bool {
	return p.health.Role == string(config.RoleAPI) || p.health.Role == string(config.RoleUp)
}

// publishers are the programs that take events, and why they are not all known.
func (a *serverArea) publishers(ctx context.Context) (out []program, unknown []string, err error) {
	all, err := a.programs(ctx)
	for _, p := range all {
		switch {
		case p.err != nil:
			unknown = append(unknown, p.err.Error())
		case p.publishes():
			out = append(out, p)
		}
	}
	return out, unknown, err
}

const lookAtPods = "look at the pods (kubectl get pods), and at the API's address"

func (a *serverArea) circuitClosed(ctx context.Context) checklist.Finding {
	apis, unknown, err := a.publishers(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	var open, half []string
	for _, p := range apis {
		switch circuit := p.saas.NATS.Circuit; circuit {
		case "closed":
		case "half_open":
			half = append(half, p.Name)
		default:
			open = append(open, fmt.Sprintf("%s has it %s, NATS is %s", p.Name, orUnknown(circuit), orUnknown(p.saas.NATS.Status)))
		}
		if s := p.saas.NATS.Status; p.saas.NATS.Circuit == "closed" && s != "healthy" {
			open = append(open, fmt.Sprintf("%s has it closed, but NATS is %s", p.Name, orUnknown(s)))
		}
	}
	switch {
	case len(open) > 0:
		return checklist.Failed(cut(some(open), 200), "look at the pods of NATS and at the log of the api: runbook.md#natscircuitopen")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtPods)
	case len(apis) == 0:
		return checklist.CannotTell("no api is among the programs that answer", lookAtPods)
	case len(half) > 0:
		return checklist.Warned("half open since an outage, and no event has tried it since: "+cut(some(half), 120), "kgents verify --deep tries each pod with events, which closes it")
	}
	return checklist.Passed("the circuit is closed and NATS healthy at %s: %s", plural(len(apis), "api"), programNames(apis))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return cut(s, 40)
}

func programNames(programs []program) string {
	var all []string
	for _, p := range programs {
		all = append(all, p.Name)
	}
	return cut(some(all), 100)
}

func (a *serverArea) spoolDrained(ctx context.Context) checklist.Finding {
	apis, unknown, err := a.publishers(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	var waiting []string
	for _, p := range apis {
		if n := p.saas.NATS.Spooled; n > 0 {
			waiting = append(waiting, fmt.Sprintf("%s on the disk of %s", plural(n, "event"), p.Name))
		}
	}
	switch {
	case len(waiting) > 0:
		return checklist.Failed(cut(some(waiting), 200), "bring NATS back, which drains it; don't delete the pod's volume: runbook.md#spoolinuse")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtPods)
	case len(apis) == 0:
		return checklist.CannotTell("no api is among the programs that answer", lookAtPods)
	}
	return checklist.Passed("nothing waits on the disks of %s: %s", plural(len(apis), "api"), programNames(apis))
}

func (a *serverArea) deadLetters(ctx context.Context) checklist.Finding {
	all, f, ok := a.streams(ctx)
	if !ok {
		return f
	}
	waiting := uint64(0)
	var oldest time.Time
	for _, i := range all {
		if i.Name == a.Stream.DeadName() {
			waiting += i.Messages
			if oldest.IsZero() || i.Messages > 0 && i.Oldest.Before(oldest) {
				oldest = i.Oldest
			}
		}
	}
	if waiting > 0 {
		return checklist.Failed(fmt.Sprintf("%s, the oldest of %s", plural(int(waiting), "dead letter")+" wait", oldest.UTC().Format(time.DateTime)),
			"kgents deadletter list says why; then replay or drop them")
	}
	return checklist.Passed("%s is empty", a.Stream.DeadName())
}

func (a *serverArea) backlog(ctx context.Context) checklist.Finding {
	r, err := a.report(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	b := r.NATS.Backlog
	const mend = "look at the log of the sink and at the meter; more sinks help only when the meter keeps up: runbook.md#consumerlaggrowing"
	if b == nil {
		return checklist.CannotTell("the program does not know the backlog: NATS does not answer it", lookAtNATS)
	}
	age := time.Duration(b.OldestAge * float64(time.Second)).Round(time.Second)
	seen := fmt.Sprintf("%s not metered, the oldest %v old", plural(int(b.Messages), "message"), age)
	switch {
	case !b.Sink:
		return checklist.Failed("there never was a sink: the stream has no consumer", "start a sink")
	case age >= lateAfter:
		return checklist.Failed(seen, mend)
	}
	return checklist.Passed("%s", seen)
}

// assumed is what an event takes on disk when none is there to be measured: about
// twice the 300 to 500 bytes of one that is sent alone.
const assumed = 1000.0

// diskHeadroom compares what may come while the meter is away with what each server
// can still take: every copy of an event needs its bytes.
func (a *serverArea) diskHeadroom(ctx context.Context) checklist.Finding {
	if a.PeakRate <= 0 || a.Outage <= 0 {
		return checklist.CannotTell("the peak rate and the longest outage are not known", "set --peak-rate, in events a second, and --longest-outage")
	}
	all, f, ok := a.streams(ctx)
	if !ok {
		return f
	}
	s, err := a.survey(ctx)
	if err != nil {
		return blind(err, lookAtNATS)
	}
	r, err := a.report(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	each, how := r.NATS.BytesPerEvent, "measured"
	if each <= 0 {
		each, how = assumed, "assumed"
	}
	need := a.PeakRate * a.Outage.Seconds() * each
	room, bound := a.room(all, s, r.Report)
	if bound == "" {
		return checklist.CannotTell("neither the stream, nor the account, nor a server has a bound that is known from here", "set NATS_STREAM_MAX_BYTES, below what the volumes hold")
	}
	lasts := time.Duration(min(room/(a.PeakRate*each), 1e8) * float64(time.Second)).Round(time.Minute)
	seen := fmt.Sprintf("%.0f/s for %v at %.0f B an event (%s) are %s; %s has room for %s, which is %v",
		a.PeakRate, a.Outage, each, how, size(int64(min(need, 1e18))), bound, size(int64(room)), lasts)
	if room < need {
		return checklist.Failed(cut(seen, 200), "enlarge the volumes and max_file_store (runbook.md#resize), or NATS_STREAM_MAX_BYTES; or expect less: --peak-rate, --longest-outage")
	}
	return checklist.Passed("%s", cut(seen, 200))
}

// room is what can still be stored, in bytes of one copy, and what bounds it: empty
// when nothing is known to.
func (a *serverArea) room(all []stream.Info, s survey, r system.Report) (room float64, bound string) {
	least := func(free int64, what string) {
		if f := float64(max(0, free)); bound == "" || f < room {
			room, bound = f, what
		}
	}
	used := int64(0)
	for _, i := range all {
		used += int64(i.Bytes)
		if i.Name == a.Stream.Name && i.MaxBytes > 0 {
			least(i.MaxBytes-int64(i.Bytes), "the stream")
		}
	}
	for _, one := range s.Servers {
		if one.Known && one.StoreLimit > 0 {
			least(one.StoreLimit-one.StoreUsed, "the store of "+one.Name)
		}
	}
	if r.NATS.StoreLimit > 0 {
		least(r.NATS.StoreLimit-used, "the account")
	}
	if r.NATS.Embedded && r.Disk != nil {
		least(r.Disk.Free, "the disk")
	}
	return room, bound
}

// versionSkew compares each program's version with this one's.
func (a *serverArea) versionSkew(ctx context.Context) checklist.Finding {
	all, err := a.programs(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	if a.Version == "" {
		return checklist.CannotTell("the version of this program is not known", "use a release")
	}
	var others, unknown []string
	for _, p := range all {
		switch {
		case p.err != nil:
			unknown = append(unknown, p.err.Error())
		case p.health.Version != a.Version:
			others = append(others, p.Name+" is "+orUnknown(p.health.Version))
		}
	}
	switch {
	case len(others) > 0:
		return checklist.Failed(cut("this program is "+a.Version+", "+some(others), 200), "wait for the roll-out to end, or deploy one version everywhere; use the kgents of that version for this list")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtPods)
	case strings.Contains(a.Version, "devel") && a.Target == checklist.Kubernetes:
		return checklist.Warned(fmt.Sprintf("%s and this one are %s, which names no commit", plural(len(all), "program"), a.Version), "deploy a release")
	}
	return checklist.Passed("%s and this one are %s: %s", plural(len(all), "program"), a.Version, programNames(all))
}
