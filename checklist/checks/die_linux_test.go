package checks

import "syscall"

// dieWithTest ends a server also when the test is killed.
var dieWithTest = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
