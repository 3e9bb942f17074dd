package main

import (
	"testing"
)

// A link to checkout that is a path is shown as an address that a browser opens.
func TestRefusedShowsWhereToBuy(t *testing.T) {
	v := &v1{target: target{URL: "https://api.example.com"}}
	err := v.refused(402, []byte(`{"status":402,"detail":"towns: the plan free allows 1, 1 used","upgrade":[
		{"plan":"pro","name":"Pro","checkout":"/v1/billing/checkout/a.b"},{"plan":"teams","name":"Teams","checkout":"https://example.com/buy"},{"plan":"more","name":"More"}]}`))
	want := "towns: the plan free allows 1, 1 used. Larger plans: Pro (https://api.example.com/v1/billing/checkout/a.b), or Teams (https://example.com/buy), or More"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}
