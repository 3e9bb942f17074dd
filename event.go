// Package kgents is the domain of the billing backbone: events, their identity
// and the errors that every stage speaks. It imports the standard library only
// and does no input or output, so it has no dependency that could be away.
//
// The data path reads from the folder names: receive, admit, publish, consume,
// meter. Each of them takes and gives the types of this package.
package kgents

import "time"

// Limits of one event. They are the tightest of what the stages behind can
// carry, so that what was admitted can always be delivered.
const (
	// MaxEventBytes is the largest encoded event. OpenMeter was measured to take
	// 900 kB and to answer 500 for ever to 1.1 MB; a JetStream message carries
	// 1 MiB by default.
	MaxEventBytes = 900_000

	// MaxIDBytes bounds the id, MaxSourceBytes the source, MaxTypeBytes the type
	// and MaxSubjectBytes the subject, in bytes. An id of ours is a UUID or a
	// Stripe id; the bounds leave room and keep keys in every store small.
	MaxIDBytes      = 256
	MaxSourceBytes  = 512
	MaxTypeBytes    = 256
	MaxSubjectBytes = 256
)

// SourceStripe is the source of every event made from a Stripe webhook. It is
// reserved: a client that could send it could claim the identity of a payment
// before Stripe delivers it. It has no dash, see facts on OpenMeter's
// deduplication key.
const SourceStripe = "stripe"

// SourceTown is the source of what Agent Town uses. It is reserved: a customer who
// could send it could claim the identities of what its towns are about to use, and
// would not be billed for it.
const SourceTown = "kgents.town"

// Reserved tells whether only this program itself may send events of a source.
func Reserved(source string) bool { return source == SourceStripe || source == SourceTown }

// Event is one CloudEvent that has passed validation. It is immutable once made:
// stages share Raw without copying it.
type Event struct {
	// Source and ID together are the identity: two events with equal source and
	// id are the same event, however often they arrive.
	Source string
	ID     string

	// Type selects the meters, for example "payment.success".
	Type string

	// Subject is whom the event counts for: a customer id.
	Subject string

	// Time is when it happened, to the precision it was given with.
	Time time.Time

	// Raw is the event as one JSON object in UTF-8 without duplicate keys,
	// complete with specversion and time. It is what travels to the meter.
	Raw []byte

	// Data is the data of the event, a JSON object within Raw; nil without one.
	Data []byte
}

// Identity is the one string under which every store knows the event. Source is
// a URI reference and so contains no space, which makes the join unambiguous.
func (e Event) Identity() string { return e.Source + " " + e.ID }
