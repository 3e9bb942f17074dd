package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Secret is one of Kubernetes'. However it is printed, logged or encoded, only its
// name is seen: a value is had by Value alone.
type Secret struct {
	metav1.ObjectMeta
	Type string

	data map[string][]byte
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var o struct {
		Metadata metav1.ObjectMeta
		Type     string
		Data     map[string][]byte
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	// `kubectl apply` repeats the values there.
	delete(o.Metadata.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	*s = Secret{o.Metadata, o.Type, o.Data}
	return nil
}

// Keys are the names of its values, sorted.
func (s Secret) Keys() []string { return slices.Sorted(maps.Keys(s.data)) }

// Value is a copy of one value.
func (s Secret) Value(key string) ([]byte, bool) {
	v, ok := s.data[key]
	return slices.Clone(v), ok
}

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Secret %s", s.Name) }

// MarshalJSON implements json.Marshaler, which slog's JSON uses too.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal("Secret " + s.Name) }
