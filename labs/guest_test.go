package labs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// What the experiments stand on: guests that fail are noticed at once, say why,
// and leave nothing behind.

func TestGuestKernelFailures(t *testing.T) {
	t.Parallel()
	for how, says := range map[string]string{
		"panic": "Kernel panic - not syncing: trouble was asked for",
		"oops":  "BUG: kernel NULL pointer dereference",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			lab := harness.New(t)
			g := lab.TroubleGuest()
			start := time.Now()
			err := g.Modprobe(lab.Ctx, harness.TroubleModule, "how="+how)
			require.Error(t, err)
			assert.Equal(t, result.Guest, result.OwnerOf(err), "%v", err)
			assert.ErrorContains(t, err, says, "the lines on the console stand in the error")
			assert.Less(t, time.Since(start), 20*time.Second, "the wait ends at once, not with the deadline")
		})
	}
}

// One guest, more and more trouble.
func TestGuestTrouble(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	g := lab.TroubleGuest()
	t.Run("none with its timer", func(t *testing.T) { timer(t, lab.In(t), g) })
	t.Run("module of another kernel", func(t *testing.T) { moduleOfAnotherKernel(t, lab.In(t), g) })
	t.Run("flood of the console", func(t *testing.T) { flood(t, lab.In(t), g) })
	t.Run("hang", func(t *testing.T) { hang(t, lab.In(t), g) })
}

// timer looks for the local APIC's timer: where Linux has given it up, a guest
// sooner or later waits for ever.
func timer(t *testing.T, lab *harness.Lab, g *guest.Guest) {
	device, err := g.ReadFile(lab.Ctx, "/sys/devices/system/clockevents/clockevent0/current_device")
	require.NoError(t, err)
	assert.Contains(t, string(device), "lapic")
	interrupts, err := g.ReadFile(lab.Ctx, "/proc/interrupts")
	require.NoError(t, err)
	assert.NotRegexp(t, `(?m)^ *0: .*timer`, string(interrupts), "the 8254 is not even set up: nothing was measured")
}

func moduleOfAnotherKernel(t *testing.T, lab *harness.Lab, g *guest.Guest) {
	module, err := os.ReadFile(filepath.Join(harness.Assets().Modules, "trouble.ko"))
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(module, []byte("vermagic=6.")))
	module = bytes.Replace(module, []byte("vermagic=6."), []byte("vermagic=5."), 1)
	const other = "/tmp/other.ko"
	require.NoError(t, g.WriteFile(lab.Ctx, other, bytes.NewReader(module), 0o644))
	err = g.Modprobe(lab.Ctx, other, "how=flood")
	assert.ErrorContains(t, err, "built for another kernel?")
	dmesg, err := g.Dmesg(lab.Ctx)
	require.NoError(t, err)
	assert.Contains(t, dmesg, "version magic '5.")
}

func flood(t *testing.T, lab *harness.Lab, g *guest.Guest) {
	require.NoError(t, g.Modprobe(lab.Ctx, harness.TroubleModule, "how=flood"))
	_, err := machine.Run(lab.Ctx, g, "uname")
	require.NoError(t, err, "the guest still answers")
	// Not to its last line: QEMU's UART drops bytes that nobody takes in time.
	assert.Greater(t, len(g.Console().Text()), 256<<10, "the flood is on the console")
	_, err = machine.Run(lab.Ctx, g, "rmmod", "trouble")
	require.NoError(t, err)
}

func hang(t *testing.T, lab *harness.Lab, g *guest.Guest) {
	ctx, cancel := context.WithTimeoutCause(lab.Ctx, time.Second, errors.New("nothing came for a second"))
	defer cancel()
	err := g.Modprobe(ctx, harness.TroubleModule, "how=hang")
	assert.ErrorContains(t, err, "nothing came for a second")
	start := time.Now()
	require.NoError(t, g.Close())
	assert.Less(t, time.Since(start), 5*time.Second, "a hanging guest is ended from outside")
}

func TestGuestOutOfMemory(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	g := lab.BootHost("small", harness.MemoryMiB(128), harness.WithTools())
	// Not by using memory up: at the brink Linux may read its programs from the disk
	// again and again for minutes. SysRq f calls the same killer.
	hog, err := g.Start(lab.Ctx, machine.Cmd{Args: []string{"sysbench", "memory", "--memory-block-size=32M", "--memory-scope=local", "--memory-total-size=0", "--time=600", "run"}})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- hog.Wait() }()
	require.Eventually(t, func() bool {
		assert.NoError(t, g.WriteFile(lab.Ctx, "/proc/sysrq-trigger", strings.NewReader("f"), 0o200))
		return len(ended) > 0
	}, time.Minute, 100*time.Millisecond)
	require.Error(t, <-ended)
	assert.Contains(t, strings.Join(g.Console().Trouble(), "\n"), "Out of memory: Killed process")
}

func TestGuestVMMFailures(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	for name, c := range map[string]struct {
		option harness.Option
		says   string
		owner  result.Owner
	}{
		"exits at once":   {harness.Device("no-such-device"), "'no-such-device' is not a valid device model name", result.VMM},
		"is not there":    {harness.QEMUBinary("/nowhere/qemu-system-x86_64"), "run make setup, which builds QEMU", result.Host},
		"kernel is none":  {harness.KernelImage("/dev/null"), "qemu-microvm ended", result.VMM},
		"too little room": {harness.MemoryMiB(8), "Linux needs 32 at least", result.Host},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lab.TryBoot("guest", c.option)
			require.Error(t, err)
			assert.ErrorContains(t, err, c.says)
			assert.Equal(t, c.owner, result.OwnerOf(err), "%v", err)
		})
	}
}

// A guest whose kernel waits for ever is noticed by its silence.
func TestGuestStalls(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	// PID 1 waits for a disk that is not there. The limit is longer than a kernel on a
	// busy machine is silent before that.
	start := time.Now()
	_, err := lab.TryBoot("guest", harness.Kernel("virtlab.mount=missing:/x"), harness.Stall(10*time.Second))
	assert.ErrorContains(t, err, "it hangs: nothing on the console and no answer for 10s")
	assert.ErrorContains(t, err, "virtlab: init", "the last lines show how far it came")
	assert.Less(t, time.Since(start), 28*time.Second, "the wait ends with the silence, not with the deadline")
}

// SIGKILL of the test leaves no VMM.
func TestGuestDiesWithItsTest(t *testing.T) {
	if os.Getenv("VIRTLAB_TEST_DIE") != "" {
		g := harness.New(t).BootHost("guest")
		require.NoError(t, os.WriteFile(os.Getenv("VIRTLAB_TEST_DIE"), []byte(strconv.Itoa(g.Pid())), 0o600))
		select {}
	}
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestGuestDiesWithItsTest$", "-accel", "tcg")
	// What it cannot remove any more goes with this test.
	cmd.Env = append(os.Environ(), "VIRTLAB_TEST_DIE="+pidFile, "TMPDIR="+shortDir(t))
	require.NoError(t, cmd.Start())
	var pid int
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(string(b))
		return pid != 0
	}, time.Minute, 20*time.Millisecond, "the guest boots")
	require.NoError(t, syscall.Kill(pid, 0), "the VMM runs")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	assert.Eventually(t, func() bool { return !isVMM(pid) }, 10*time.Second, 20*time.Millisecond, "the VMM %d outlives its test", pid)
}

// isVMM says whether pid is a living QEMU.
func isVMM(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(status), "qemu") && !strings.Contains(string(status), ") Z ")
}

// Power off in order: QEMU ends with status 0. (pc does in each I/O lab.)
func TestGuestPowersOff(t *testing.T) {
	t.Parallel()
	for _, m := range []vmm.MachineType{vmm.Q35, vmm.MicroVM} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			lab := harness.New(t)
			g := lab.BootHost("guest", harness.MachineType(m))
			require.NoError(t, g.PowerOff(lab.Ctx))
		})
	}
}
