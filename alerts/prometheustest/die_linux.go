package prometheustest

import "syscall"

// dieWithTest ends the process also when the test is killed.
var dieWithTest = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
