package load

import "syscall"

// childAttributes keep Ctrl-C from our children, which we stop ourselves, and end them
// when we are killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
