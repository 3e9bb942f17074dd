// Package storetest runs an S3 server in the test's process.
package storetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
)

// Bucket is the bucket that a Server has.
const Bucket = "backups"

// Server is one of S3's protocol, with a bucket. It knows one access key, compares the
// MD5 of what is put, and asks for no proof of the secret.
type Server struct {
	store.Settings // of a store with a prefix

	// Backend holds the objects.
	Backend gofakes3.Backend

	// Before, if not nil, looks at each request first. It returns true when it has
	// answered, or has hijacked the connection.
	Before atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{Backend: s3mem.New()}
	if err := s.Backend.CreateBucket(Bucket); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(s.Backend, gofakes3.WithIntegrityCheck(true)).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before := s.Before.Load(); before != nil && (*before)(w, r) {
			return
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+s.AccessKey+"/") {
			Refuse(w, http.StatusForbidden, "InvalidAccessKeyId")
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.Settings = store.Settings{
		URL: "s3://" + Bucket + "/some/prefix", Endpoint: srv.URL, Region: "eu-test-1", AccessKey: "AKIATEST", SecretKey: "a-secret-for-tests",
	}
	return s
}

// Refuse answers with an error of S3's.
func Refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>refused by the test</Message></Error>"))
}

// Open is the store of the server's bucket.
func (s *Server) Open(t testing.TB) backup.Store {
	t.Helper()
	st, err := store.Open(s.Settings)
	if err != nil {
		t.Fatal(err)
	}
	return st
}
