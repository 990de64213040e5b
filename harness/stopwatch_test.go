package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/sandbox"
)

func TestStopwatchWithoutAGuestIsAWatch(t *testing.T) {
	w := startStopwatch(machine.Host)
	require.NoError(t, w.wait(t.Context(), 50*time.Millisecond))
	assert.GreaterOrEqual(t, time.Since(w.start), 50*time.Millisecond)
	before, elapsed, after := time.Since(w.start), w.elapsed(), time.Since(w.start)
	assert.LessOrEqual(t, before, elapsed)
	assert.LessOrEqual(t, elapsed, after)
}

func TestStopwatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, startStopwatch(machine.Host).wait(ctx, time.Hour), context.DeadlineExceeded)
}

// TestStolenTimeDoesNotCount has more busy processes than CPUs: each waits for part
// of the time.
func TestStolenTimeDoesNotCount(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skipf("this kernel does not tell how long a thread waited: %v", err)
	}
	pid := crowd(t)
	w := startStopwatch(process{machine.Host, pid})
	time.Sleep(500 * time.Millisecond)
	all := time.Since(w.start) // longer than it slept, on a busy machine
	assert.Less(t, w.elapsed(), all*4/5, "a third of the time was its own")
}

func TestGuestTimeout(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skipf("this kernel does not tell how long a thread waited: %v", err)
	}
	late := errors.New("late")
	const d = 200 * time.Millisecond
	start := time.Now()
	ctx, cancel := GuestTimeout(t.Context(), machine.Host, d, late)
	defer cancel()
	<-ctx.Done()
	assert.Equal(t, late, context.Cause(ctx))
	assert.GreaterOrEqual(t, time.Since(start), d)

	start = time.Now()
	ctx, cancel = GuestTimeout(t.Context(), process{machine.Host, crowd(t)}, d, late)
	defer cancel()
	<-ctx.Done()
	assert.Equal(t, late, context.Cause(ctx))
	assert.Greater(t, time.Since(start), 3*d/2, "it had a third of the time")

	ctx, cancel = GuestTimeout(t.Context(), machine.Host, time.Hour, late)
	cancel()
	assert.Equal(t, context.Canceled, context.Cause(ctx))
}

// process is a machine that is a process of the host.
type process struct {
	machine.Machine
	pid int
}

func (p process) Pid() int { return p.pid }

// crowd starts more busy processes than there are CPUs, each below a shell as a VMM
// is below its sandbox, and gives the number of one of the shells.
func crowd(t *testing.T) (pid int) {
	t.Helper()
	for range 3 * runtime.NumCPU() {
		shell := exec.CommandContext(t.Context(), "sh", "-c", "sh -c 'while :; do :; done'; true")
		shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := shell.Start(); err != nil {
			t.Skipf("no shell: %v", err)
		}
		pid = shell.Process.Pid
		t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); _ = shell.Wait() })
	}
	require.Eventually(t, func() bool { return len(family(pid)) == 2 }, 10*time.Second, time.Millisecond)
	return pid
}

// A process that starts others while it is looked at may be listed without them.
func TestStopwatchNeverGoesBack(t *testing.T) {
	const vcpu, loader = "/proc/7/task/8/schedstat", "/proc/7/task/7/schedstat"
	before := map[string]schedstat{loader: {ran: 5 * time.Second, waited: 9 * time.Second}, vcpu: {ran: time.Second, waited: time.Second}}
	after := map[string]schedstat{loader: {ran: 5 * time.Second, waited: 9 * time.Second}, vcpu: {ran: 3 * time.Second, waited: 4 * time.Second}}
	assert.Equal(t, 3*time.Second, busiestWait(before, after), "not what the other one had waited before")
	assert.Zero(t, busiestWait(before, nil))
	assert.Zero(t, busiestWait(before, map[string]schedstat{loader: before[loader]}))

	w := &stopwatch{vmm: os.Getpid(), start: time.Now().Add(-time.Minute), waited: 20 * time.Second, steal: steal()}
	assert.InDelta(t, 40*time.Second, w.elapsed(), float64(10*time.Second))
	assert.GreaterOrEqual(t, w.waited, 20*time.Second)
}

func TestSteal(t *testing.T) {
	// Two CPUs; of one the machine below took 3.5 s, of the other 1.5 s.
	const stat = "cpu  100 0 20 3000 5 0 0 500 0 0\n" +
		"cpu0 50 0 10 1500 2 0 0 350 0 0\ncpu1 50 0 10 1500 3 0 0 150 0 0\nintr 12 3\n"
	assert.Equal(t, 2500*time.Millisecond, stealIn(stat))
	assert.Zero(t, stealIn(""))
	assert.Zero(t, stealIn("cpu0 50 0 10\n"), "a kernel before 2.6.11 does not say")
}

// A VMM in a sandbox is waited for like another: it is below the process that was
// started.
func TestStopwatchSeesIntoASandbox(t *testing.T) {
	if err := sandbox.Available(); err != nil {
		t.Skipf("not graded: %v", err)
	}
	p, err := sandbox.Machine(sandbox.VMM).Start(t.Context(), machine.Cmd{Args: []string{"sh", "-c", "while :; do :; done"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Kill(); _ = p.Wait() })
	require.NotZero(t, machine.Pid(p))
	assert.Eventually(t, func() bool {
		for _, s := range threads(machine.Pid(p)) {
			if s.ran > 200*time.Millisecond {
				return true
			}
		}
		return false
	}, 30*time.Second, 10*time.Millisecond, "the shell is busy, bubblewrap is not")
}
