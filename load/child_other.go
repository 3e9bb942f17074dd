//go:build !linux

package load

import "syscall"

// childAttributes keep Ctrl-C from our children, which we stop ourselves.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
