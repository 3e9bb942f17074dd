package secrets

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// rotation is how a secret is replaced. Begin makes the new one and keeps the one
// before accepted; value is what the user brings, where somebody else makes it.
// Finish takes the one before away.
// Period is how long one may be used, a policy that docs/saas/secrets.md gives the
// reasons of.
type rotation struct {
	name    string
	what    string
	period  time.Duration
	brought bool // the new one comes from outside
	begin   func(d store, value string) error
	finish  func(d store) error
}

// The periods. What programs send to each other costs nobody anything to rotate; what
// others hold costs them a change; old backups need the identity of their time; and a
// certificate of a year is replaced 30 days before its end.
const (
	ofPrograms     = 90 * day
	ofOthers       = 180 * day
	ofBackups      = 365 * day
	ofCertificates = 335 * day
)

func rotations() []rotation {
	out := []rotation{
		{
			name: "webhook-secret", what: "signs Stripe's webhooks", period: ofOthers, brought: true,
			begin:  func(d store, value string) error { return d.prepend(apiEnv, "STRIPE_WEBHOOK_SECRET", value, "") },
			finish: func(d store) error { return d.dropSecond(apiEnv, "STRIPE_WEBHOOK_SECRET") },
		},
		{
			name: "api-key", what: "lets clients send and read", period: ofOthers,
			begin:  func(d store, _ string) error { return d.prepend(apiEnv, "API_KEYS", "kg_"+rand.Text(), "") },
			finish: func(d store) error { return d.dropSecond(apiEnv, "API_KEYS") },
		},
		{
			name: "openmeter-api-key", what: "lets api and sink in at the embedded meter", period: ofPrograms,
			begin: func(d store, _ string) error {
				return d.prepend(meterEnv, "API_KEYS", "kg_meter_"+rand.Text(), "OPENMETER_API_KEY")
			},
			finish: func(d store) error { return d.dropSecond(meterEnv, "API_KEYS") },
		},
		{name: "redis", what: "password of Redis's user kgents", period: ofPrograms, begin: rotateRedis, finish: func(d store) error {
			now, err := d.redisPassword()
			if err != nil {
				return err
			}
			return d.write(usersACL, acl(now))
		}},
	}
	for _, role := range roles {
		out = append(out, rotation{
			name: "nats-" + role, what: "NKey of NATS's user " + role, period: ofPrograms,
			begin:  func(d store, _ string) error { return d.rotateSeed(role) },
			finish: func(d store) error { return d.forgetSeed(role) },
		})
	}
	out = append(out, rotation{
		name: "backup-identity", what: "opens backups of the stream", period: ofBackups,
		begin:  func(d store, _ string) error { return d.rotateIdentity() },
		finish: func(d store) error { return d.forgetIdentities() },
	})
	return append(out, rotation{
		name: "nats-tls", what: "certificate of the NATS servers", period: ofCertificates,
		begin: func(d store, _ string) error {
			now, err := d.certificate(tlsCert)
			if err != nil {
				return err
			}
			return d.makeLeaf(now.DNSNames)
		},
		finish: func(store) error { return nil }, // whoever trusts the CA took both all the while
	})
}

// Names lists what can be rotated.
func Names() (out []string) {
	for _, r := range rotations() {
		out = append(out, r.name)
	}
	return out
}

func find(name string) (rotation, error) {
	all := rotations()
	if i := slices.IndexFunc(all, func(r rotation) bool { return r.name == name }); i >= 0 {
		return all[i], nil
	}
	return rotation{}, fmt.Errorf("there is no secret %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Brought says whether the new value of a secret is made by somebody else and
// given to Rotate. An unknown name is an error.
func Brought(name string) (bool, error) {
	r, err := find(name)
	return r.brought, err
}

// Rotate replaces a secret. The one before stays accepted until Finish, without
// which the secret can't be rotated again. value is the new one where Brought says
// so, else empty.
func Rotate(dir, name, value string) error {
	r, err := find(name)
	if err != nil {
		return err
	}
	d := store{dir}
	started, err := d.started()
	if err != nil {
		return err
	}
	if at, ok := started[name]; ok {
		return fmt.Errorf("%s is being rotated since %s: deploy, and when nobody uses the one before, end it with --finish", name, at.Format(time.RFC3339))
	}
	if value = strings.TrimSpace(value); r.brought {
		if err := checkBrought(value); err != nil {
			return err
		}
	}
	if err := r.begin(d, value); err != nil {
		return err
	}
	started[name] = time.Now().UTC().Truncate(time.Second)
	if err := d.setStarted(started); err != nil {
		return err
	}
	return d.record(name)
}

// Finish takes the one before a rotation away.
func Finish(dir, name string) error {
	r, err := find(name)
	if err != nil {
		return err
	}
	d := store{dir}
	started, err := d.started()
	if err != nil {
		return err
	}
	if _, ok := started[name]; !ok {
		return fmt.Errorf("%s is not being rotated: begin without --finish", name)
	}
	if err := r.finish(d); err != nil {
		return err
	}
	delete(started, name)
	if err := d.setStarted(started); err != nil {
		return err
	}
	return d.record()
}

// printable is what an env file and a list can hold without quotes.
var printable = regexp.MustCompile(`^[A-Za-z0-9_./+=-]{16,256}$`)

func checkBrought(value string) error {
	switch {
	case value == "":
		return errors.New("the new secret is made by its owner: give its file with --from-file (- for standard input)")
	case !printable.MatchString(value):
		return errors.New("the new secret must be 16 to 256 letters, digits and _ . / + = -, without anything around it")
	}
	return nil
}

// prepend puts a new value in front of a list, and into the variable single, if any.
func (d store) prepend(file, list, value, single string) error {
	values, err := d.readEnv(file, list)
	if err != nil {
		return err
	}
	old := strings.Split(values[list], ",")
	if slices.Contains(old, value) {
		return fmt.Errorf("%s has this %s already: a rotation needs a new one", file, list)
	}
	next := map[string]string{list: strings.Join(append([]string{value}, old...), ",")}
	if single != "" {
		next[single] = value
	}
	return d.change(file, next)
}

// dropSecond takes the one before, which stands second, out of a list.
func (d store) dropSecond(file, list string) error {
	values, err := d.readEnv(file, list)
	if err != nil {
		return err
	}
	all := strings.Split(values[list], ",")
	if len(all) < 2 {
		return nil // done by hand
	}
	return d.change(file, map[string]string{list: strings.Join(slices.Delete(all, 1, 2), ",")})
}

// redisPassword is the one that programs send.
func (d store) redisPassword() (string, error) {
	values, err := d.readEnv(redisEnv, "REDIS_URL")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(values["REDIS_URL"])
	if err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && printable.MatchString(password) {
			return password, nil
		}
	}
	return "", fmt.Errorf("REDIS_URL in %s has no password of 16 or more letters and digits: it looks like redis://kgents:PASSWORD@redis:6379/0", redisEnv)
}

func rotateRedis(d store, _ string) error {
	old, err := d.redisPassword()
	if err != nil {
		return err
	}
	now := rand.Text()
	if err := d.write(usersACL, acl(now, old)); err != nil { // first who accepts
		return err
	}
	values, err := d.readEnv(redisEnv, "REDIS_URL")
	if err != nil {
		return err
	}
	u, err := url.Parse(values["REDIS_URL"])
	if err != nil {
		return fmt.Errorf("REDIS_URL in %s is no URL", redisEnv)
	}
	u.User = url.UserPassword(u.User.Username(), now)
	return d.change(redisEnv, map[string]string{"REDIS_URL": u.String()})
}

func (d store) rotateSeed(role string) error {
	old, err := d.publicKey(role)
	if err != nil {
		return err
	}
	seed, err := newSeed()
	if err != nil {
		return err
	}
	now, err := publicOf(seed)
	if err != nil {
		return err
	}
	if err := d.change(usersEnv, map[string]string{variable(role): now, variable(role) + "_PREVIOUS": old}); err != nil { // first who accepts
		return err
	}
	return d.write(seedFile(role), seed)
}

func (d store) forgetSeed(role string) error {
	nobody, err := nobodysKey()
	if err != nil {
		return err
	}
	return d.change(usersEnv, map[string]string{variable(role) + "_PREVIOUS": nobody})
}
