package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Secret is what may be shown of one.
type Secret struct {
	Name     string     `json:"name"`
	What     string     `json:"what"`
	Files    []string   `json:"files"`
	Changed  time.Time  `json:"changed"`
	Expires  *time.Time `json:"expires,omitempty"`  // of a certificate
	Rotating *time.Time `json:"rotating,omitempty"` // since when the one before is accepted beside it
}

// files are where each secret is, the one that programs send first: its time is
// that of the last change.
func (r rotation) files() []string {
	switch r.name {
	case "webhook-secret", "api-key":
		return []string{apiEnv}
	case "openmeter-api-key":
		return []string{meterEnv}
	case "redis":
		return []string{redisEnv, usersACL}
	case "backup-identity":
		return []string{backupIdentity, backupRecipient}
	case "nats-tls":
		return []string{tlsCert, tlsKey}
	default:
		return []string{seedFile(strings.TrimPrefix(r.name, "nats-")), usersEnv}
	}
}

// List describes each secret of the directory, without its value. Secrets that
// share a file share its time.
func List(dir string) ([]Secret, error) {
	d := store{dir}
	started, err := d.started()
	if err != nil {
		return nil, err
	}
	var out []Secret
	for _, r := range rotations() {
		s := Secret{Name: r.name, What: r.what, Files: r.files()}
		if _, err := d.read(s.Files[0]); err != nil {
			return nil, err
		}
		info, err := os.Stat(filepath.Join(dir, s.Files[0]))
		if err != nil {
			return nil, err
		}
		s.Changed = info.ModTime()
		if at, ok := started[r.name]; ok {
			s.Rotating = &at
		}
		if r.name == "nats-tls" {
			cert, err := d.certificate(tlsCert)
			if err != nil {
				return nil, err
			}
			s.Changed, s.Expires = cert.NotBefore.Add(skew), &cert.NotAfter
		}
		out = append(out, s)
	}
	return out, nil
}
