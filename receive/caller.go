package receive

import (
	"context"

	"github.com/kgents/kgents"
)

// WithCaller returns a context of a request that p sends. It is for who lets requests
// in by other means than RequireKey, as tests do.
func WithCaller(ctx context.Context, p kgents.Principal) context.Context {
	return context.WithValue(ctx, callerKey{}, p)
}
