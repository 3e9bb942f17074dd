// Package secrets makes and rotates the secrets of a deployment in a directory of
// files, from which Kustomize makes Kubernetes Secrets.
//
// It promises that nothing that is there is overwritten except by a rotation, that
// a rotation keeps the one before accepted until it is finished, and that a file
// appears whole or not at all, readable by its owner only. Of rotations that are
// interrupted, what accepts is written before what is sent, so that at any moment
// the deployment lets its own programs in. No value is in any error.
//
// It depends on nothing but the directory.
package secrets

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/joho/godotenv"
	"github.com/nats-io/nkeys"
)

// The files, relative to the directory.
const (
	apiEnv   = "api.env"
	meterEnv = "meter.env"
	redisEnv = "redis.env"
	usersACL = "redis/users.acl"
	usersEnv = "nats/users.env"
	caCert   = "nats/ca.crt"
	caKey    = "nats/ca.key"
	tlsCert  = "nats/tls.crt"
	tlsKey   = "nats/tls.key"

	backupIdentity  = "backup/identity.txt"
	backupRecipient = "backup/recipient.env" // no secret: what seals can't open

	// rotating has a time for each secret whose one before is still accepted.
	rotating = "rotating.json"
)

// roles are NATS's users. Each has a file nats/<role>.nk with its seed.
var roles = []string{"api", "sink", "backup", "operator", "system"}

func seedFile(role string) string { return "nats/" + role + ".nk" }

// namespaceName is what Kubernetes allows as the name of a namespace.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Init makes the directory and those of its files that are missing, and returns
// their names. The namespace is in the names of the NATS servers' certificate.
func Init(dir, namespace string) (made []string, err error) {
	if !namespaceName.MatchString(namespace) {
		return nil, fmt.Errorf("%q is no namespace: use lower-case letters, digits and dashes, for example kgents-staging", namespace)
	}
	for _, d := range []string{dir, filepath.Join(dir, "redis"), filepath.Join(dir, "nats"), filepath.Join(dir, "backup")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	d := store{dir}
	absent := d.missing()
	ensure := func(name string, content func() (string, error)) error {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		text, err := content()
		if err != nil {
			return err
		}
		made = append(made, name)
		return d.write(name, text)
	}
	password := rand.Text()
	meterKey := "kg_meter_" + rand.Text()
	steps := []step{
		// Nothing of a deployment belongs into git, this line included.
		{".gitignore", func() (string, error) { return "*\n", nil }},
		{apiEnv, func() (string, error) {
			return env("Who may send, and what Stripe signs with: put your endpoint's secret here.",
				"API_KEYS", "kg_"+rand.Text(), "STRIPE_WEBHOOK_SECRET", "whsec_"+rand.Text()), nil
		}},
		{meterEnv, func() (string, error) {
			return env("What the embedded meter accepts, and what api and sink send to it.",
				"API_KEYS", meterKey, "OPENMETER_API_KEY", meterKey), nil
		}},
		{redisEnv, func() (string, error) { return redisURL(password), nil }},
		{usersACL, func() (string, error) {
			now, err := d.redisPassword()
			return acl(now), err
		}},
	}
	steps = append(steps, d.backupSteps()...)
	for _, s := range steps {
		if err := ensure(s.name, s.content); err != nil {
			return made, err
		}
	}
	users := []string{}
	_, missing := os.Lstat(filepath.Join(dir, usersEnv))
	for _, role := range roles {
		if err := ensure(seedFile(role), newSeed); err != nil {
			return made, err
		}
		now, err := d.publicKey(role)
		if err != nil {
			return made, err
		}
		nobody, err := nobodysKey()
		if err != nil {
			return made, err
		}
		users = append(users, variable(role), now, variable(role)+"_PREVIOUS", nobody)
		if missing == nil {
			if err := d.addUser(role, now, nobody); err != nil {
				return made, err
			}
		}
	}
	if err := ensure(usersEnv, func() (string, error) { return env(usersComment, users...), nil }); err != nil {
		return made, err
	}
	certs, err := d.ensureCertificates(namespace)
	made = append(made, certs...)
	if err != nil {
		return made, err
	}
	recorded, err := d.recordMade(absent)
	if recorded {
		made = append(made, agesFile)
	}
	return made, err
}

// step is a file that Init makes.
type step struct {
	name    string
	content func() (string, error)
}

// addUser gives a directory that was made before there was a role the role's key.
func (d store) addUser(role, now, nobody string) error {
	values, err := d.readEnv(usersEnv)
	if err != nil || values[variable(role)] != "" {
		return err
	}
	return d.change(usersEnv, map[string]string{variable(role): now, variable(role) + "_PREVIOUS": nobody})
}

const usersComment = "Public keys of NATS's users. PREVIOUS is accepted too: the key before a rotation, else one that nobody has."

// variable is the variable of nats.conf that names a role's key.
func variable(role string) string { return "NATS_" + strings.ToUpper(role) + "_NKEY" }

func newSeed() (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	seed, err := pair.Seed()
	return string(seed) + "\n", err
}

// nobodysKey is a public key whose seed is forgotten, so that a configuration can
// name a key that lets nobody in.
func nobodysKey() (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	return pair.PublicKey()
}

// env is the text of an env file.
func env(comment string, pairs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", comment)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s=%s\n", pairs[i], pairs[i+1])
	}
	return b.String()
}

func redisURL(password string) string {
	return env("Where replicas share the identities of events.", "REDIS_URL", "redis://kgents:"+password+"@redis:6379/0")
}

// acl is Redis's list of users, with what packages admit/redis and entitle need and with
// INFO for metrics. Without a password one can only ask whether it is up.
func acl(passwords ...string) string {
	return "user default on nopass resetkeys resetchannels -@all +ping\n" +
		"user kgents on >" + strings.Join(passwords, " >") + " resetkeys ~idempotency:* ~rate:customer:* resetchannels -@all" +
		" +ping +hello +info +client|setname +set +get +del +ttl +time +eval +evalsha\n"
}

// store is the directory.
type store struct{ dir string }

// write puts a file in place whole, on disk before it has its name.
func (d store) write(name, content string) error {
	path := filepath.Join(d.dir, name)
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // readable by its owner only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when all went well
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s can't be written: %w", name, err)
	}
	return os.Rename(f.Name(), path)
}

// maxFile bounds each file, in bytes.
const maxFile = 64 << 10

func (d store) read(name string) (string, error) {
	path := filepath.Join(d.dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: make it with 'kgents secrets init'", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return "", fmt.Errorf("%s is no file of at most %d bytes", path, maxFile)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// readEnv reads an env file that must have the names.
func (d store) readEnv(file string, names ...string) (map[string]string, error) {
	text, err := d.read(file)
	if err != nil {
		return nil, err
	}
	values, err := godotenv.Unmarshal(text)
	if err != nil {
		return nil, fmt.Errorf("%s can't be read as NAME=value lines: mend it", file) // the error may quote it
	}
	for _, name := range names {
		if values[name] == "" {
			return nil, fmt.Errorf("%s has no %s: add it, or move the file away and make a new one with 'kgents secrets init'", file, name)
		}
	}
	return values, nil
}

// change replaces values of an env file and leaves its other lines as they are.
func (d store) change(file string, values map[string]string) error {
	text, err := d.read(file)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	left := maps.Clone(values)
	for i, line := range lines {
		name, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if value, ours := left[strings.TrimSpace(name)]; ok && ours {
			lines[i] = strings.TrimSpace(name) + "=" + value
			delete(left, strings.TrimSpace(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		lines = append(lines, name+"="+left[name])
	}
	return d.write(file, strings.Join(lines, "\n")+"\n")
}

// publicKey is that of a role's seed.
func (d store) publicKey(role string) (string, error) {
	seed, err := d.read(seedFile(role))
	if err != nil {
		return "", err
	}
	public, err := publicOf(seed)
	if err != nil {
		return "", fmt.Errorf("%s holds no NKey's seed: move it away and make a new one with 'kgents secrets init'", seedFile(role))
	}
	return public, nil
}

func publicOf(seed string) (string, error) {
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(seed)))
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// started is when each unfinished rotation began.
func (d store) started() (map[string]time.Time, error) {
	out := map[string]time.Time{}
	if _, err := os.Stat(filepath.Join(d.dir, rotating)); errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	text, err := d.read(rotating)
	if err == nil {
		err = json.Unmarshal([]byte(text), &out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; mend it: it has a name and a time for each rotation that is not finished", rotating, err)
	}
	return out, nil
}

func (d store) setStarted(all map[string]time.Time) error {
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return d.write(rotating, string(b)+"\n")
}
