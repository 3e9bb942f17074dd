package secrets

import (
	"strings"
	"time"
)

// Secret is what may be shown of one.
type Secret struct {
	Name       string     `json:"name"`
	What       string     `json:"what"`
	Files      []string   `json:"files"`
	Changed    time.Time  `json:"changed,omitzero"` // when the present one was made or brought, if that is known
	PeriodDays int        `json:"period_days"`      // how long one may be used
	Due        time.Time  `json:"due,omitzero"`     // when it is to be rotated, if that is known
	Problem    string     `json:"problem,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`  // of a certificate
	Rotating   *time.Time `json:"rotating,omitempty"` // since when the one before is accepted beside it
}

// files are where each secret is, the one that programs send first.
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

// List describes each secret of the directory, without its value. A problem is one at
// the time now.
func List(dir string, now time.Time) ([]Secret, error) {
	d := store{dir}
	all, err := Ages(dir)
	if err != nil {
		return nil, err
	}
	var out []Secret
	for i, r := range rotations() {
		a := all[i]
		s := Secret{
			Name: r.name, What: r.what, Files: r.files(), Changed: a.Made, PeriodDays: int(a.Period / day),
			Due: a.Due(), Problem: a.Problem(now),
		}
		if !d.has(r) {
			_, err := d.read(s.Files[0])
			return nil, err
		}
		if !a.Rotating.IsZero() {
			s.Rotating = &a.Rotating
		}
		if r.name == "nats-tls" {
			cert, err := d.certificate(tlsCert)
			if err != nil {
				return nil, err
			}
			s.Expires = &cert.NotAfter
		}
		out = append(out, s)
	}
	return out, nil
}
