package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// NewKey makes what Remote.Key takes of the content of a file that Remote.Creds could
// name. The error never quotes it.
func NewKey(content []byte) (nats.Option, error) {
	if bytes.Contains(content, []byte("-----BEGIN")) {
		return nats.UserCredentialBytes(content), nil
	}
	return seedOption(content)
}

// maxCreds bounds a file of credentials, in bytes.
const maxCreds = 64 << 10

// credentials makes an option of a file: a NATS credentials file, which holds a JWT
// and its key and is read again with each connection, or a file with nothing but the
// seed of a user's NKey (SU...). A seed that replaces another counts from the next
// start on: until then the one before goes on, which a rotation keeps accepted. The
// error never quotes the content.
func credentials(path string) (nats.Option, error) {
	b, err := readCredentials(path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(b, []byte("-----BEGIN")) {
		return nats.UserCredentials(path), nil
	}
	return seedOption(b)
}

func seedOption(b []byte) (nats.Option, error) {
	pair, err := userKey(b)
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	return nats.Nkey(public, pair.Sign), nil
}

func readCredentials(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCreds) {
		return nil, fmt.Errorf("NATS_CREDS=%q is no file of at most %d bytes", path, maxCreds)
	}
	b := []byte(nil)
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("NATS_CREDS=%q: %w", path, pathErr.Err)
	}
	return b, err
}

// userKey reads the seed of a user's NKey.
func userKey(b []byte) (nkeys.KeyPair, error) {
	pair, err := nkeys.FromSeed(bytes.TrimSpace(b))
	if err == nil {
		if kind, _, decodeErr := nkeys.DecodeSeed(bytes.TrimSpace(b)); decodeErr == nil && kind == nkeys.PrefixByteUser {
			return pair, nil
		}
	}
	return nil, errors.New("NATS_CREDS names a file that is neither a NATS credentials file nor the seed of a user's NKey, which begins with SU")
}
