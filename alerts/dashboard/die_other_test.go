//go:build !linux

package dashboard_test

import "syscall"

var dieWithTest *syscall.SysProcAttr
