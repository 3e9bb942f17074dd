package billing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/kgents/kgents"
)

const (
	// LinkPath is before the token of a link.
	LinkPath = "/v1/billing/checkout/"

	// linkFor is how long a link is good at most. Stripe keeps idempotency keys as long,
	// and so gives one session to whoever opens a link again.
	linkFor = 24 * time.Hour

	// linkStep is how long the same link is given for the same plan: so a customer who is
	// refused a thousand times in an hour has one link, and by it one session. A link is
	// good for linkFor less linkStep at least.
	linkStep = time.Hour

	// maxToken bounds a token that is looked at. The longest that is made, of a customer
	// and a plan with the longest names, has less than 300 bytes.
	maxToken = 512

	linkVersion = 1

	// linkLabel keeps the key of links apart from any other that is ever derived from
	// the same secret.
	linkLabel = "kgents checkout link 1"
)

// LinksConfig is what Links need.
type LinksConfig struct {
	Key       string // STRIPE_API_KEY; empty = there are no links
	ReturnURL string // BILLING_RETURN_URL; empty = there are none, since checkout needs it
	PublicURL string // PUBLIC_URL, without a slash at its end; empty = a link is a path
	Catalog   Catalog
}

// Links makes and reads links to checkout, which a browser opens without a key. A link
// is good for one customer, one plan and a day, and says so itself: nothing is kept, and
// nobody is asked when one is made. It is signed with a key that every replica derives
// from Stripe's API key: links that are out end when that is rotated, and while replicas
// still have different ones, one may not know another's. Nil makes none, and no token is
// good for it. It is safe for concurrent use.
type Links struct {
	key     []byte
	public  string
	catalog Catalog
	now     func() time.Time
}

// NewLinks returns nil where there can be none.
func NewLinks(c LinksConfig) *Links {
	if c.Key == "" || c.ReturnURL == "" {
		return nil
	}
	key, err := hkdf.Key(sha256.New, []byte(c.Key), nil, linkLabel, sha256.Size)
	if err != nil {
		return nil // of a length that HKDF can't make, which this isn't
	}
	return &Links{key: key, public: c.PublicURL, catalog: c.Catalog, now: time.Now}
}

// offer is what a link is for.
type offer struct {
	Version  int    `json:"v"`
	Customer string `json:"c"`
	Plan     string `json:"p"`
	Interval string `json:"i"`
	Expires  int64  `json:"e"` // Unix seconds
}

// Link returns where customer can buy plan, by the month if there is such a price, else
// by the year: an address below PublicURL, or without one a path to be resolved against the
// API's address. It is empty for a plan without a price.
func (l *Links) Link(customer, plan string) string {
	if l == nil {
		return ""
	}
	p, ok := l.catalog().Plan(plan)
	if !ok || len(p.Prices) == 0 {
		return ""
	}
	interval := p.Prices[0].Interval
	for _, price := range p.Prices {
		if price.Interval == "month" {
			interval = price.Interval
		}
	}
	token := l.sign(offer{linkVersion, customer, plan, interval, l.now().Truncate(linkStep).Add(linkFor).Unix()})
	if len(token) > maxToken {
		return ""
	}
	return l.public + LinkPath + token
}

// sign returns base64url(JSON).base64url(HMAC of what is before the dot).
func (l *Links) sign(o offer) string {
	b, _ := json.Marshal(o) // texts and numbers can't fail
	payload := base64.RawURLEncoding.EncodeToString(b)
	return payload + "." + l.seal(payload)
}

func (l *Links) seal(payload string) string {
	m := hmac.New(sha256.New, l.key)
	m.Write([]byte(payload))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// errNoLink is the one answer to every token that isn't good, whatever is wrong with it.
var errNoLink = kgents.Errorf(kgents.CodeNotFound, "this link is not good, or not any more: a link to checkout ends after a day; ask for a new one where you got it")

// read returns what a token is for. Nothing of a token is looked at before its signature
// is known to be ours. Signatures are compared as they are written, since more than one
// text could stand for the same bytes: of one offer there is one token.
func (l *Links) read(token string) (offer, error) {
	if l == nil || len(token) > maxToken {
		return offer{}, errNoLink
	}
	payload, signature, _ := strings.Cut(token, ".")
	if !hmac.Equal([]byte(signature), []byte(l.seal(payload))) {
		return offer{}, errNoLink
	}
	var o offer
	b, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(b, &o) != nil || o.Version != linkVersion || l.now().Unix() >= o.Expires {
		return offer{}, errNoLink
	}
	return o, nil
}
