package living

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// askTimeout is how long Prometheus or Alertmanager may take over one request, and
// mostAnswer how much of an answer is read, in bytes.
const (
	askTimeout = 10 * time.Second
	mostAnswer = 16 << 20
)

// bounded reads no more of an answer than mostAnswer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > mostAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", mostAnswer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// web is the client for Prometheus and Alertmanager.
func (s *Sources) web() *http.Client {
	c := http.Client{}
	if s.HTTP != nil {
		c = *s.HTTP
	}
	inner := c.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	c.Transport = bounded{inner}
	return &c
}

// Prometheus is the API of the one that is configured. Its error says that there is none.
func (s *Sources) Prometheus() (promv1.API, error) {
	if s.PrometheusURL == "" {
		return nil, Absent("Prometheus", "set PROMETHEUS_URL to its address")
	}
	c, err := api.NewClient(api.Config{Address: s.PrometheusURL, Client: s.web()})
	if err != nil {
		return nil, Away("Prometheus", errors.New("PROMETHEUS_URL is no address"))
	}
	return promv1.NewAPI(c), nil
}

// QueryRange asks Prometheus for a range vector.
func (s *Sources) QueryRange(ctx context.Context, query string, from, to time.Time, step time.Duration) (model.Matrix, error) {
	p, err := s.Prometheus()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v, _, _, err := p.QueryRange(ctx, query, promv1.Range{Start: from, End: to, Step: step})
	if err != nil {
		return nil, Away("Prometheus", err)
	}
	m, ok := v.(model.Matrix)
	if !ok {
		return nil, Away("Prometheus", fmt.Errorf("it answered with a %s", v.Type()))
	}
	return m, nil
}

// Alert is one that is pending or fires.
type Alert struct {
	Name, Severity, Summary string
	State                   string // pending or firing
	Since                   time.Time
	Labels                  map[string]string
}

// Alerts are those of this deployment that Prometheus has now.
func (s *Sources) Alerts(ctx context.Context) ([]Alert, error) {
	p, err := s.Prometheus()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := p.Alerts(ctx)
	if err != nil {
		return nil, Away("Prometheus", err)
	}
	var out []Alert
	for _, a := range r.Alerts {
		one := Alert{State: string(a.State), Since: a.ActiveAt, Labels: map[string]string{}, Summary: string(a.Annotations["summary"])}
		for k, v := range a.Labels {
			one.Labels[string(k)] = string(v)
		}
		if !s.ours(one.Labels) {
			continue
		}
		one.Name, one.Severity = one.Labels["alertname"], one.Labels["severity"]
		out = append(out, one)
	}
	return out, nil
}

// ours says whether something with labels is of this deployment.
func (s *Sources) ours(labels map[string]string) bool {
	return s.Namespace == "" || labels["namespace"] == "" || labels["namespace"] == s.Namespace
}
