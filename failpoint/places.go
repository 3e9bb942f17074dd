package failpoint

// Places are the names of all places that Hit marks, in the order of an event's way
// and then a town's.
func Places() []string {
	return []string{
		"admit.claimed", "publish.before", "publish.acknowledged", "spool.written", "spool.synced", "spool.drained", "admit.published",
		"flush.before", "flush.after", "flush.acknowledging", "follow.applied",
		"town.stepped", "town.saved", "town.admitted", "town.told",
	}
}
