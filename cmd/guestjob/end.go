package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

// end ends the machine; where that works it does not return. It asks the kernel,
// not systemd: shutting services down takes seconds and is not measured.
func end(console *os.File, how job.End) error {
	// A reset throws away what waits for the serial port.
	_ = drain(console)
	unix.Sync()
	switch how {
	case job.Reboot:
		return fmt.Errorf("reboot: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
	case job.PowerOff:
		return fmt.Errorf("power off: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	default:
		for {
			time.Sleep(time.Hour)
		}
	}
}

// drainWait is how long a serial port may take for what was written to it.
const drainWait = 10 * time.Second

// drain waits until the serial port has all that was written to a terminal. It
// asks over and over, as tcdrain(3) sleeps for whole ticks of the kernel: 10 ms.
func drain(console *os.File) error {
	for start := time.Now(); ; {
		n, err := unix.IoctlGetInt(int(console.Fd()), unix.TIOCOUTQ)
		switch {
		case errors.Is(err, unix.ENOTTY), err == nil && n == 0:
			return nil
		case err != nil:
			return fmt.Errorf("the console's queue: %w", err)
		case time.Since(start) > drainWait:
			return fmt.Errorf("the console has not taken the last %d bytes within %s", n, drainWait)
		}
	}
}
