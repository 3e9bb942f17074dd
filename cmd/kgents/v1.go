package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// v1 asks the routes under /v1.
type v1 struct {
	target
	customer string
	output   string
	client   http.Client
}

// maxAnswer bounds what is read of an answer: a page of events has some 500 kB.
const maxAnswer = 16 << 20

func (v *v1) addFlags(cmd *cobra.Command) {
	v.target.addFlags(cmd)
	cmd.Flags().StringVar(&v.customer, "customer", "", "whom it is about; an operator's key has to tell, a customer's key needn't")
	words(cmd, "customer")
}

func (v *v1) addOutput(cmd *cobra.Command) {
	cmd.Flags().StringVar(&v.output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
}

// begin finds out whom to ask, and whether anybody is there.
func (v *v1) begin() error {
	if v.output != "" && v.output != "table" && v.output != "json" {
		return fmt.Errorf("--output %q is no format: use table or json", v.output)
	}
	if err := v.resolve(); err != nil {
		return err
	}
	if err := v.needKey(); err != nil {
		return err
	}
	v.client.Timeout = time.Minute
	return v.reach()
}

// problem is a problem that a route has answered with.
type problem struct {
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Type    string `json:"type"`
	Upgrade []struct {
		Plan     string `json:"plan"`
		Name     string `json:"name"`
		Checkout string `json:"checkout"`
	} `json:"upgrade"`
	Errors []struct{ Pointer, Detail string } `json:"errors"`
}

func (r *problem) Error() string {
	text := r.Detail
	for _, e := range r.Errors {
		text += fmt.Sprintf("; %s: %s", strings.TrimPrefix(strings.TrimPrefix(e.Pointer, "body."), "query."), e.Detail)
	}
	for i, u := range r.Upgrade {
		sep := ", or "
		if i == 0 {
			sep = ". Larger plans: "
		}
		text += sep + u.Name
		if u.Checkout != "" {
			text += " (" + u.Checkout + ")"
		}
	}
	return printable(text)
}

// request makes a request of the customer's.
func (v *v1) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	if query == nil {
		query = url.Values{}
	}
	if v.customer != "" {
		query.Set("customer", v.customer)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, v.URL+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+v.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// do asks, and reads the answer into out if that isn't nil. What is answered with a
// problem is a *problem.
func (v *v1) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	req, err := v.request(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	return v.send(req, out)
}

// send is do for a request that is there already.
func (v *v1) send(req *http.Request, out any) error {
	resp, err := v.client.Do(req)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok {
			return fmt.Errorf("nothing answers at %s any more", v.URL)
		}
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return v.refused(resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = b
		return nil
	}
	return json.Unmarshal(b, out)
}

func (v *v1) refused(status int, body []byte) error {
	if status == http.StatusUnauthorized {
		return v.keyRefused()
	}
	r := &problem{Status: status}
	if json.Unmarshal(body, r) != nil || r.Detail == "" {
		r.Detail = fmt.Sprintf("%s answers %d %s", v.URL, status, http.StatusText(status))
	}
	for i, u := range r.Upgrade {
		if strings.HasPrefix(u.Checkout, "/") {
			r.Upgrade[i].Checkout = v.URL + u.Checkout
		}
	}
	return r
}
