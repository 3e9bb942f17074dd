//go:build !linux

package checks

import "syscall"

var dieWithTest *syscall.SysProcAttr
