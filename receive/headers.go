package receive

import "net/http"

// secureHeaders are on every answer. None of them is for a page, since there is
// none here: they are for the browser that is led to an answer all the same.
//
// No Strict-Transport-Security: the port speaks plain HTTP, over which browsers
// must ignore it (RFC 6797, 7.2), and only whoever ends TLS knows whether all of
// its host is ready for it. Slices are made once: they are shared, and nobody
// changes what stands in them.
var secureHeaders = []struct {
	name  string
	value []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}},
	{"Referrer-Policy", []string{"no-referrer"}},
	{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	// Also where no key was needed: a health that a proxy remembers is a lie.
	{"Cache-Control", []string{"no-store"}},
}

// Secure is next, whose answers all carry the headers of security. It stands
// around everything else on a port. Answers to what is no HTTP at all are
// net/http's own: plain text that repeats nothing.
func Secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for i := range secureHeaders {
			h[secureHeaders[i].name] = secureHeaders[i].value
		}
		next.ServeHTTP(w, r)
	})
}

// SecureHeaders are the headers that every answer has.
func SecureHeaders() http.Header {
	out := http.Header{}
	for _, h := range secureHeaders {
		out.Set(h.name, h.value[0])
	}
	return out
}
