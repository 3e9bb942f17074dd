// Package store keeps backups in a directory or in a bucket of S3's protocol.
//
// It promises what backup.Store says: a file is there whole or not at all, and is
// durable when Put has returned. Nothing is sent when a store is opened. No error and
// no name of a store holds a credential.
//
// When the bucket's server is away, each call fails after four attempts, of at most
// 5 s to connect and 30 s to answer, and the error says so. A file of 64 MiB may take
// 10 minutes each way, which is 110 kB/s. A disk that is full or read-only is the
// operating system's error.
package store

import (
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream/backup"
)

// Settings say where backups are.
type Settings struct {
	URL string // the path of a directory, or s3://bucket/prefix

	// Of a bucket. An empty endpoint is Amazon's; a region is found out if empty.
	Endpoint, Region     string
	AccessKey, SecretKey string
}

const scheme = "s3://"

// Open makes a store of its settings, without looking whether it is there.
func Open(s Settings) (backup.Store, error) {
	switch {
	case s.URL == "":
		return nil, kgents.Errorf(kgents.CodeMisconfig, "no place for backups is set: give --to or --from, or set BACKUP_URL, to a directory or s3://bucket/prefix")
	case strings.HasPrefix(s.URL, scheme):
		return openBucket(s)
	case strings.Contains(s.URL, "://"):
		return nil, kgents.Errorf(kgents.CodeMisconfig, "the place for backups is neither a directory nor s3://bucket/prefix")
	}
	return directory{s.URL}, nil
}
