//go:build !linux

package redistest

import "syscall"

// dieWithTest has nothing to say where the kernel can't do it: a test that is
// killed leaves its server.
var dieWithTest *syscall.SysProcAttr
