package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// The bounds that Standard Webhooks sets for the bytes of a symmetric secret.
const (
	minSecret = 24
	maxSecret = 64
)

// secret is a key of HMAC-SHA256.
type secret []byte

// parseSecret takes whsec_ and base64.
func parseSecret(text string) (secret, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, errors.New("it is no secret of Standard Webhooks: use whsec_ and the base64 of 24 to 64 random bytes, as 'openssl rand -base64 32' makes them")
	}
	return key, nil
}

// sign sets the headers of a message: one signature for each secret, so that a
// receiver who knows only the old one or only the new one takes it.
func sign(h http.Header, secrets []secret, id string, at time.Time, payload []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, key := range secrets {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(payload)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	h.Set(headerSignature, strings.Join(signatures, " "))
}
