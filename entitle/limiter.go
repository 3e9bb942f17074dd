package entitle

import (
	"context"
	"net/http"
)

// RateLimiter bounds the requests of a customer by its plan. *Limiter is one.
type RateLimiter interface {
	// Allow takes one request. The error is an *kgents.Error with CodeRateLimited and
	// RetryAfter. H gets the RateLimit headers of the answer either way.
	Allow(ctx context.Context, customer string, h http.Header) error
}
