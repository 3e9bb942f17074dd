package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	root "github.com/kgents/kgents"
	v1api "github.com/kgents/kgents/api"
	"github.com/kgents/kgents/invoice"
)

func anInvoice() invoice.Invoice {
	begin, end := time.Date(2026, 11, 10, 8, 0, 0, 0, time.UTC), time.Date(2026, 12, 10, 8, 0, 0, 0, time.UTC)
	limit := func(l root.Limit) *v1api.Limit { return &v1api.Limit{Limit: l} }
	return invoice.Invoice{
		Customer: "acme", Plan: "pro", Currency: "usd", From: begin, To: end, CountedTo: begin.AddDate(0, 0, 5), Total: 3840,
		Lines: []invoice.Line{
			{Kind: "plan", Text: "Pro, a month", From: begin, To: end, Quantity: 2, Unit: "seat", Price: 1900, Per: 1, Amount: 3800},
			{Kind: "included", Text: "Tokens", Feature: "tokens", From: begin, To: end, Quantity: 500_000, Unit: "token", Limit: limit(root.AtMost(500_000)), LimitPer: "period", Per: 1},
			{Kind: "overage", Text: "Tokens past the limit", Feature: "tokens", From: begin, To: end, Quantity: 50_000, Unit: "token", Price: 8, Per: 10_000, Amount: 40},
			{Kind: "included", Text: "API calls", Feature: "calls", From: begin, To: end, Quantity: 1_234, Unit: "call", Limit: limit(root.AtMost(10_000)), LimitPer: "day", Per: 1},
			{Kind: "included", Text: "Interactions", Feature: "interactions", From: begin, To: end, Quantity: 7, Unit: "interaction", Limit: limit(root.NoLimit()), LimitPer: "period", Per: 1},
		},
		Notes: []string{"Tax is not computed."},
	}
}

func TestPrintInvoice(t *testing.T) {
	year := anInvoice()
	year.From, year.Complete = year.From.AddDate(-1, 0, 0), true
	year.Lines[0].From = year.From
	hostile := anInvoice()
	hostile.Customer, hostile.Plan, hostile.Notes[0], hostile.Currency = "a\x1b[2Jb", "p\n", "n\x07", "jpy"
	hostile.Lines = []invoice.Line{{Kind: "plan", Text: "P\x1b[0m", Quantity: 1, Per: 1}}
	for name, inv := range map[string]invoice.Invoice{"invoice": anInvoice(), "invoice-year": year, "invoice-hostile": hostile} {
		var out bytes.Buffer
		printInvoice(&out, inv)
		golden(t, name, out.Bytes())
	}
}

func TestInvoiceCommand(t *testing.T) {
	alone(t)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			return
		}
		asked = append(asked, r.Method+" "+r.URL.String())
		switch {
		case r.Header.Get("Authorization") != "Bearer k":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Query().Get("customer") == "nobody":
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"status":404,"detail":"there is no such customer"}`))
		case r.URL.Query().Get("customer") == "strange":
			_, _ = w.Write([]byte(`<html>`))
		case r.URL.Query().Get("format") == "csv":
			_, _ = w.Write([]byte("customer,plan\r\nacme,pro\r\n"))
		default:
			_ = json.NewEncoder(w).Encode(anInvoice())
		}
	}))
	defer server.Close()
	t.Setenv("API_KEYS", "k")
	for _, test := range []struct {
		args     []string
		code     int
		says, in string
	}{
		{nil, 0, "Total without tax", "GET /v1/invoice"},
		{[]string{"--customer", "acme", "--at", "2026-11-01"}, 0, "500,000 of 500,000", "GET /v1/invoice?at=2026-11-01&customer=acme"},
		{[]string{"--output", "json"}, 0, `"total": 3840`, "GET /v1/invoice"},
		{[]string{"--output", "csv"}, 0, "customer,plan\r\nacme,pro\r\n", "GET /v1/invoice?format=csv"},
		{[]string{"--output", "pdf"}, 1, `--output "pdf" is no format: use table, json or csv`, ""},
		{[]string{"--customer", "nobody"}, 1, "there is no such customer", "GET /v1/invoice?customer=nobody"},
		{[]string{"--customer", "strange"}, 1, "something that is no invoice", "GET /v1/invoice?customer=strange"},
		{[]string{"acme"}, 1, "takes no arguments", ""},
	} {
		asked = nil
		code, out, stderr := kgents(t, append([]string{"invoice", "--url", server.URL}, test.args...)...)
		text := out
		if test.code != 0 {
			text = stderr
		}
		if code != test.code || !strings.Contains(text, test.says) || strings.Join(asked, " ") != test.in {
			t.Errorf("%q: code %d, asked %q\n%s%s", test.args, code, asked, out, stderr)
		}
	}
	t.Setenv("API_KEYS", "wrong")
	if code, _, stderr := kgents(t, "invoice", "--url", server.URL); code != 1 || !strings.Contains(stderr, "does not know the API key") {
		t.Errorf("a wrong key: %d %s", code, stderr)
	}
}
