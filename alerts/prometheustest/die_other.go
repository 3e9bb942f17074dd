//go:build !linux

package prometheustest

import "syscall"

// dieWithTest has nothing to say where the kernel can't do it: a test that is
// killed leaves its process.
var dieWithTest *syscall.SysProcAttr
