package billing

import (
	"net"
	"net/url"
	"strings"

	"github.com/kgents/kgents"
)

// maxURL bounds an address that Stripe sends a browser to; Stripe takes 2,048 bytes.
const maxURL = 2000

// returns knows where Stripe may send a customer back to.
type returns struct {
	page    *url.URL        // BILLING_RETURN_URL; nil = none
	origins map[string]bool // scheme://host:port
}

// newReturns allows the origin of page and the origins, but for "*", which allows
// reading by any page and not that we send people there.
func newReturns(page string, origins []string) returns {
	r := returns{origins: map[string]bool{}}
	if u, err := url.Parse(page); err == nil && page != "" && u.Host != "" {
		r.page = u
		r.origins[origin(u)] = true
	}
	for _, o := range origins {
		if u, err := url.Parse(o); err == nil && u.Host != "" && !strings.Contains(o, "*") {
			r.origins[origin(u)] = true
		}
	}
	return r
}

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// pick is where Stripe sends the customer back to: asked, if its origin is allowed, or
// else the page with outcome as its query's `billing`.
func (r returns) pick(member, asked, outcome string) (string, error) {
	if asked == "" {
		if r.page == nil {
			return "", kgents.Errorf(kgents.CodeMisconfig, "there is no page to come back to: the operator has to set BILLING_RETURN_URL")
		}
		u := *r.page
		q := u.Query()
		q.Set("billing", outcome)
		u.RawQuery = q.Encode()
		return u.String(), nil
	}
	u, err := url.Parse(asked)
	switch {
	case err != nil || len(asked) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "":
		return "", kgents.Errorf(kgents.CodeInvalid, "%s must be an address such as https://app.example.com/billing", member)
	case !r.origins[origin(u)]:
		return "", kgents.Errorf(kgents.CodeInvalid, "%s leads to a place that is not allowed: its scheme, host and port must be those of BILLING_RETURN_URL or one of CORS_ORIGINS", member)
	}
	return u.String(), nil
}
