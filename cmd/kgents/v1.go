package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/api/client"
)

// v1 asks the routes under /v1.
type v1 struct {
	target
	customer string
	output   string
	client   http.Client
}

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

// api is the client of what v1 has found out.
func (v *v1) api() *client.Client { return &client.Client{URL: v.URL, Key: v.Key, HTTP: &v.client} }

// request makes a request of the customer's.
func (v *v1) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	if query == nil {
		query = url.Values{}
	}
	if v.customer != "" {
		query.Set("customer", v.customer)
	}
	return v.api().Request(ctx, method, path, query, body)
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
	b, err := v.api().Send(req)
	if _, away := errors.AsType[*client.AwayError](err); away {
		return fmt.Errorf("nothing answers at %s any more", v.URL)
	}
	if status := client.Status(err); status != 0 {
		return v.refused(status, b)
	}
	if err != nil || out == nil {
		return err
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
