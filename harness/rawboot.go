package harness

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/vmm"
)

// RawBoot runs QEMU's bare command line with the kernel and initramfs of the
// labs and a PID 1 that runs uname and powers off: what booting costs without a
// harness around it. It returns the time from exec to exit.
func (l *Lab) RawBoot(t vmm.MachineType) time.Duration {
	l.t.Helper()
	cfg := guestConfig(machine.Host, "raw", "", []Option{MachineType(t), Kernel(wire.Run + "=uname")})
	argv, err := cfg.Driver.Command(cfg.Config)
	l.must(err)
	start := time.Now()
	out, err := machine.Run(l.Ctx, machine.Host, argv...)
	took := time.Since(start)
	l.must(err)
	require.Contains(l.t, out, "Linux ", "the guest's uname came through: %s", fmt.Sprint(argv))
	return took
}
