package repl

import "golang.org/x/sys/unix"

// flush throws away what was typed at a terminal and not read.
func flush(fd int) error {
	const read = 1 // FREAD of sys/fcntl.h
	return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, read)
}
