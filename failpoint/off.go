//go:build !failpoints

// Package failpoint lets tests end the program at exact places, such as between
// a sync and the answer. A build without the tag `failpoints`, and so every build
// that is shipped, has nothing of it: Hit is empty and is compiled away.
package failpoint

// Hit marks a place.
func Hit(string) {}
