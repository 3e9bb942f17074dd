package stripetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// do is what a request does. What isn't known here is answered as stripe-mock does.
func (s *Server) do(r Request, mocked []byte) (int, []byte) {
	path := strings.Split(strings.TrimPrefix(r.Path, "/v1/"), "/")
	route := r.Method + " " + path[0]
	if len(path) > 1 && path[0] == "billing" {
		route = r.Method + " " + path[0] + "/" + path[1]
		path = path[1:]
	}
	id := ""
	if len(path) > 1 {
		id = path[1]
	}
	f := r.Form
	switch route {
	case "POST customers":
		return ok(s.add("customers", Object{"object": "customer", "name": f.Get("name"), "metadata": members(f, "metadata")}))
	case "POST checkout":
		return ok(s.add("sessions", Object{"object": "checkout.session", "url": "https://checkout.stripe.com/c/pay/" + strconv.Itoa(s.last+1), "expires_at": s.Now().Unix() + 86400, "customer": f.Get("customer")}))
	case "POST billing_portal":
		return ok(s.add("portals", Object{"object": "billing_portal.session", "url": "https://billing.stripe.com/p/session/" + strconv.Itoa(s.last+1), "customer": f.Get("customer")}))
	case "GET prices":
		return page(s.objects["prices"], func(o Object) bool {
			return (f.Get("active") == "" || f.Get("active") == strconv.FormatBool(o["active"].(bool))) &&
				(len(values(f, "lookup_keys")) == 0 || slices.Contains(values(f, "lookup_keys"), o["lookup_key"].(string)))
		})
	case "POST prices":
		return s.newPrice(f)
	case "GET products":
		if o, found := s.get("products", id); found {
			return ok(o)
		}
		return missing("product", id)
	case "POST products":
		if id != "" {
			o, found := s.get("products", id)
			if !found {
				return missing("product", id)
			}
			o["active"] = f.Get("active") == "true"
			return ok(o)
		}
		if _, found := s.get("products", f.Get("id")); found {
			return problem(http.StatusBadRequest, "invalid_request_error", "resource_already_exists", "Product already exists.")
		}
		return ok(s.add("products", Object{"object": "product", "id": f.Get("id"), "name": f.Get("name"), "active": true, "metadata": members(f, "metadata")}))
	case "GET subscriptions":
		return page(s.objects["subscriptions"], func(o Object) bool { return o["customer"] == f.Get("customer") })
	case "POST subscriptions", "DELETE subscriptions":
		return s.changeSubscription(r.Method, id, f)
	case "GET billing/meters":
		if len(path) > 2 {
			return s.summaries(id, f)
		}
		return page(s.objects["meters"], func(Object) bool { return true })
	case "POST billing/meters":
		return s.meter(path, f)
	case "POST billing/meter_events":
		return s.meterEvent(f)
	}
	return http.StatusOK, mocked
}

func (s *Server) newPrice(f url.Values) (int, []byte) {
	key := f.Get("lookup_key")
	for _, o := range s.objects["prices"] {
		if key == "" || o["lookup_key"] != key {
			continue
		}
		if f.Get("transfer_lookup_key") != "true" {
			return problem(http.StatusBadRequest, "invalid_request_error", "", "A price (`"+o["id"].(string)+"`) already uses that lookup key.")
		}
		o["lookup_key"] = ""
	}
	if _, found := s.get("products", f.Get("product")); !found {
		return missing("product", f.Get("product"))
	}
	amount, decimal := f.Get("unit_amount"), f.Get("unit_amount_decimal")
	if decimal == "" {
		decimal = amount
	}
	whole, _ := strconv.ParseInt(amount, 10, 64)
	recurring := Object{"interval": f.Get("recurring[interval]"), "interval_count": 1, "usage_type": "licensed", "meter": f.Get("recurring[meter]")}
	if u := f.Get("recurring[usage_type]"); u != "" {
		recurring["usage_type"] = u
	}
	return ok(s.add("prices", Object{
		"object": "price", "active": true, "currency": f.Get("currency"), "lookup_key": key, "product": f.Get("product"), "billing_scheme": "per_unit",
		"type": "recurring", "unit_amount": whole, "unit_amount_decimal": decimal, "recurring": recurring, "metadata": members(f, "metadata"), "nickname": f.Get("nickname"),
	}))
}

// changeSubscription knows items, cancellation at the period's end and at once.
func (s *Server) changeSubscription(method, id string, f url.Values) (int, []byte) {
	sub, found := s.get("subscriptions", id)
	if !found {
		return missing("subscription", id)
	}
	if method == http.MethodDelete {
		sub["status"], sub["ended_at"], sub["canceled_at"] = "canceled", s.Now().Unix(), s.Now().Unix()
		return ok(sub)
	}
	if v := f.Get("cancel_at_period_end"); v != "" {
		sub["cancel_at_period_end"] = v == "true"
	}
	items := sub["items"].(Object)["data"].([]Object)
	for n := 0; ; n++ {
		prefix := "items[" + strconv.Itoa(n) + "]"
		change := members(f, prefix)
		if len(change) == 0 {
			break
		}
		i := slices.IndexFunc(items, func(o Object) bool { return o["id"] == change["id"] })
		switch {
		case change["deleted"] == "true":
			items = slices.Delete(items, i, i+1)
			continue
		case i < 0:
			items = append(items, Object{"id": "si_new" + strconv.Itoa(n), "object": "subscription_item", "current_period_end": items[0]["current_period_end"]})
			i = len(items) - 1
		}
		p, found := s.get("prices", change["price"])
		if !found {
			return missing("price", change["price"])
		}
		items[i]["price"] = p
		if q, err := strconv.ParseInt(change["quantity"], 10, 64); err == nil {
			items[i]["quantity"] = q
		}
	}
	sub["items"] = Object{"object": "list", "data": items}
	return ok(sub)
}

func (s *Server) meter(path []string, f url.Values) (int, []byte) {
	if len(path) > 2 {
		o, found := s.get("meters", path[1])
		if !found {
			return missing("meter", path[1])
		}
		o["status"] = map[string]string{"reactivate": "active", "deactivate": "inactive"}[path[2]]
		return ok(o)
	}
	for _, o := range s.objects["meters"] {
		if o["event_name"] == f.Get("event_name") && o["status"] == "active" {
			return problem(http.StatusBadRequest, "invalid_request_error", "", "An active meter with that event name already exists.")
		}
	}
	return ok(s.add("meters", Object{
		"object": "billing.meter", "event_name": f.Get("event_name"), "display_name": f.Get("display_name"), "status": "active",
		"customer_mapping": members(f, "customer_mapping"), "default_aggregation": members(f, "default_aggregation"), "value_settings": members(f, "value_settings"),
	}))
}

func (s *Server) meterEvent(f url.Values) (int, []byte) {
	name, id := f.Get("event_name"), f.Get("identifier")
	if !slices.ContainsFunc(s.objects["meters"], func(o Object) bool { return o["event_name"] == name && o["status"] == "active" }) {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "No active meter found for event name "+name+".")
	}
	if e, found := s.events[name][id]; found && s.Now().Sub(e.At) < unique {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "An event already exists with identifier "+id+".")
	} else if found {
		id += " again at " + s.Now().String() // past the time of uniqueness it counts twice
	}
	value, err := strconv.ParseInt(f.Get("payload[value]"), 10, 64)
	stamp, err2 := strconv.ParseInt(f.Get("timestamp"), 10, 64)
	if err != nil || err2 != nil || f.Get("payload[stripe_customer_id]") == "" || value <= 0 {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "Invalid payload.")
	}
	if now := s.Now().Unix(); stamp < now-35*86400 || stamp > now+300 {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "The timestamp is outside of the past 35 calendar days.")
	}
	if s.events[name] == nil {
		s.events[name] = map[string]Used{}
	}
	s.events[name][id] = Used{Customer: f.Get("payload[stripe_customer_id]"), Value: value, Time: stamp, At: s.Now()}
	return ok(Object{"object": "billing.meter_event", "event_name": name, "identifier": id, "timestamp": stamp})
}

func (s *Server) summaries(id string, f url.Values) (int, []byte) {
	m, found := s.get("meters", id)
	if !found {
		return missing("meter", id)
	}
	from, _ := strconv.ParseInt(f.Get("start_time"), 10, 64)
	to, _ := strconv.ParseInt(f.Get("end_time"), 10, 64)
	if from%60 != 0 || to%60 != 0 {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "start_time and end_time must align with minute boundaries.")
	}
	o := Object{"id": "mtrusg_1", "object": "billing.meter_event_summary", "meter": id, "start_time": from, "end_time": to,
		"aggregated_value": s.sum(m["event_name"].(string), f.Get("customer"), from, to)}
	return page([]Object{o}, func(Object) bool { return true })
}

func ok(o any) (int, []byte) {
	b, _ := json.Marshal(o) // maps of texts and numbers can't fail
	return http.StatusOK, b
}

func missing(what, id string) (int, []byte) {
	return problem(http.StatusNotFound, "invalid_request_error", "resource_missing", "No such "+what+": '"+id+"'")
}

// page is a list with one page, newest first.
func page(all []Object, keep func(Object) bool) (int, []byte) {
	data := []Object{}
	for _, o := range slices.Backward(all) {
		if keep(o) {
			data = append(data, o)
		}
	}
	return ok(Object{"object": "list", "has_more": false, "url": "/v1", "data": data})
}

// members are those of a form below prefix: prefix[name]=value.
func members(f url.Values, prefix string) map[string]string {
	out := map[string]string{}
	for k, v := range f {
		if rest, ok := strings.CutPrefix(k, prefix+"["); ok {
			if name, end := strings.CutSuffix(rest, "]"); end && !strings.Contains(name, "[") {
				out[name] = v[0]
			}
		}
	}
	return out
}

// values are those of a form's list: name[0]=value.
func values(f url.Values, name string) []string {
	var out []string
	for k, v := range f {
		if strings.HasPrefix(k, name+"[") {
			out = append(out, v...)
		}
	}
	return out
}
