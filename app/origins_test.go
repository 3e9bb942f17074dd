package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/kgents/kgents/config"
)

// A browser lets a page of a listed origin call, with a key that the page holds, and
// pages of no other. Nothing is done for what a browser sends by itself: cookies and
// remembered passwords are no key.
func TestOtherOrigins(t *testing.T) {
	const listed = "https://app.example.com"
	p := start(t, config.RoleMeter, settings(t, config.RoleMeter, map[string]string{"CORS_ORIGINS": listed}))
	for origin, allowed := range map[string]bool{
		listed: true, "https://evil.example.com": false, "http://app.example.com": false, "https://app.example.com.evil.com": false,
		"https://app.example.com:8443": false, "null": false, "https://evilapp.example.com": false,
	} {
		preflight := p.request(http.MethodOptions, "/api/v1/events", "")
		preflight.Header.Del("Authorization")
		preflight.Header.Set("Access-Control-Request-Method", "POST")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		for name, req := range map[string]*http.Request{"a preflight": preflight, "a request": p.request(http.MethodGet, "/api/v1/meters", "")} {
			req.Header.Set("Origin", origin)
			a := p.send(req)
			if got := a.header.Get("Access-Control-Allow-Origin"); (got == origin) != allowed || got != "" && got != origin {
				t.Errorf("%s of %s: allowed is %q, want %v", name, origin, got, allowed)
			}
			if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("%s of %s: credentials are %q", name, origin, got)
			}
		}
	}
	for name, value := range map[string]string{"Cookie": "key=" + apiKey, "Authorization": "Basic " + apiKey, "X-Api-Key": apiKey} {
		req := p.interaction("forged")
		req.Header.Del("Authorization")
		req.Header.Set(name, value)
		wantProblem(t, p.send(req), http.StatusUnauthorized)
	}
	req := p.interaction("forged")
	req.Header.Del("Authorization")
	req.URL.RawQuery = "api_key=" + apiKey + "&access_token=" + apiKey
	wantProblem(t, p.send(req), http.StatusUnauthorized)
}

// Nothing that a client sends becomes a header of an answer.
func TestHeadersCannotBeInjected(t *testing.T) {
	p := start(t, config.RoleMeter, settings(t, config.RoleMeter, map[string]string{"CORS_ORIGINS": "https://app.example.com"}))
	for _, request := range []string{
		"GET //a%0d%0aInjected:1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/../a%0aInjected:1/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/meters/a%0d%0aInjected:1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + apiKey + "\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com%0d%0aInjected:1\r\n\r\n",
		"OPTIONS /health HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: a\\r\\nInjected:1\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: x\r\nTraceparent: 00-a%0d%0aInjected:1\r\nX-Request-Id: a%0d%0aInjected:1\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		r := textproto.NewReader(bufio.NewReader(conn))
		if line, err := r.ReadLine(); err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
			t.Fatalf("%q is answered %q, %v", request, line, err)
		}
		header, err := r.ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		if header.Get("Injected") != "" {
			t.Errorf("%q gets the header that it asked for: %v", request, header)
		}
	}
}
