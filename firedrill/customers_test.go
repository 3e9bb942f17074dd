//go:build linux

package firedrill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/kgents/kgents/chaos/world"
)

// subject is whose the load's events are.
const subject = "c"

// customer makes the load's subject one that has a plan, and limits.
func (d *drill) customer() {
	d.Helper()
	d.admin("/v1/customers", `{"id":"`+subject+`"}`, nil)
}

// askAlways has the customer ask every replica of the api what it may use, with a key of
// its own, until the scene ends: so its rate is looked at.
func (d *drill) askAlways() {
	d.Helper()
	var key struct{ Key string }
	d.admin("/v1/keys", `{"customer":"`+subject+`","scopes":["read"]}`, &key)
	for _, api := range d.APIs {
		d.load.wg.Go(func() {
			for {
				select {
				case <-d.load.stop:
					return
				case <-time.After(200 * time.Millisecond):
				}
				r, err := http.NewRequest(http.MethodGet, "http://"+api.Listen+"/v1/entitlements", nil)
				if err != nil {
					d.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+key.Key)
				if resp, err := client.Do(r); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
}

// admin asks the first api for something to be made. The customers may not be read yet.
func (d *drill) admin(path, body string, into any) {
	d.Helper()
	d.Eventually("POST "+path+" is answered 201", 30*time.Second, func() bool {
		r, err := http.NewRequest(http.MethodPost, "http://"+d.APIs[0].Listen+path, bytes.NewReader([]byte(body)))
		if err != nil {
			d.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+world.APIKey)
		resp, err := client.Do(r)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return false
		}
		if into == nil {
			return true
		}
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			d.Fatal(fmt.Errorf("%s: %w", path, err))
		}
		return true
	})
}
