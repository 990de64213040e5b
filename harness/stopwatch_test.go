package harness

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
)

func TestStopwatchWithoutAGuestIsAWatch(t *testing.T) {
	w := startStopwatch(machine.Host)
	require.NoError(t, w.wait(t.Context(), 50*time.Millisecond))
	assert.GreaterOrEqual(t, time.Since(w.start), 50*time.Millisecond)
	assert.InDelta(t, time.Since(w.start), w.elapsed(), float64(20*time.Millisecond))
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
	pid := 0
	for range 3 * runtime.NumCPU() {
		busy := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
		if err := busy.Start(); err != nil {
			t.Skipf("no shell: %v", err)
		}
		t.Cleanup(func() { _ = busy.Process.Kill(); _ = busy.Wait() })
		pid = busy.Process.Pid
	}
	w := stopwatch{vmm: pid, start: time.Now(), stolen: stolen(pid)}
	time.Sleep(500 * time.Millisecond)
	assert.Less(t, w.elapsed(), 400*time.Millisecond, "a third of the time was its own")
}
