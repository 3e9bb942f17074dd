package api

import "github.com/kgents/kgents"

// Let is what a route says to a caller.
func Let(r Route, caller kgents.Principal) error { return r.letIn(caller) }
