package receive

// MaxSenders is how many senders something is kept of.
const MaxSenders = maxSenders

// Senders is of how many of the ring's something is kept.
func (e *Edge) Senders() int {
	e.Keys.senders.mu.RLock()
	defer e.Keys.senders.mu.RUnlock()
	return len(e.Keys.senders.known)
}
