package stream

// Kept are the names of what belongs to the stream of events and is kept beside it:
// buckets of keys and values, and one stream of history. Whoever needs one first makes
// it. Backups have all of them but HistoryName.

// AccountsName is the bucket of customers (customer.…), of whose Stripe customer is whose
// (stripe.…), and of API keys (key.…, and their last use, use.…).
func (c Config) AccountsName() string { return c.Name + "-accounts" }

// TownsName is the bucket of towns: of each its state, with the events that are still to
// be sent.
func (c Config) TownsName() string { return c.Name + "-towns" }

// TownName is the stream of what happened in towns.
func (c Config) TownName() string { return c.Name + "-town" }

// TownSubject is where the events of one town are published, and those of all for "*".
func (c Config) TownSubject(town string) string { return "kgent-town." + c.Name + "." + town }

// HistoryName is the bucket of what has happened in the running program, a key a
// replica. Backups don't have it: nothing rests on it.
func (c Config) HistoryName() string { return c.Name + "-history" }

// DurableBilling is the consumer of the stream of events that applies what Stripe says
// to customers. All sinks share it.
const DurableBilling = "billing"

// BucketStream is the stream that holds a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// BucketSubject is where a bucket's key is published.
func BucketSubject(bucket, key string) string { return "$KV." + bucket + "." + key }
