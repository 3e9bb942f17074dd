package repl

import "golang.org/x/sys/unix"

// flush throws away what was typed at a terminal and not read.
func flush(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }
