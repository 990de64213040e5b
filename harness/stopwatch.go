package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"virtlab/harness/machine"
)

// stopwatch measures the time that a guest had: time in which it waited for a CPU
// of the host does not count, so that a busy host makes nobody late.
type stopwatch struct {
	vmm    int // process id; 0 where the machine is not a guest on the host
	start  time.Time
	stolen time.Duration // at the start
}

// startStopwatch starts one for m.
func startStopwatch(m machine.Machine) stopwatch {
	w := stopwatch{start: time.Now()}
	if g, ok := m.(interface{ Pid() int }); ok {
		w.vmm = g.Pid()
	}
	w.stolen = stolen(w.vmm)
	return w
}

// elapsed is the time since the start that the guest had.
func (w stopwatch) elapsed() time.Duration {
	return time.Since(w.start) - (stolen(w.vmm) - w.stolen)
}

// wait waits until that much time has elapsed, or the context's error.
func (w stopwatch) wait(ctx context.Context, d time.Duration) error {
	for {
		left := d - w.elapsed()
		if left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(left, 10*time.Millisecond)):
		}
	}
}

// stolen is how long the busiest thread of a process, a VMM's virtual CPU, has
// waited for a CPU of the host while it could have run. It is 0 where the kernel
// does not say.
func stolen(pid int) (waited time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var busiest int64 = -1
	for _, file := range threads {
		// Documentation/scheduler/sched-stats.rst: nanoseconds on a CPU, and
		// waiting for one.
		var ran, delayed int64
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &ran, &delayed); err == nil && ran > busiest {
			busiest, waited = ran, time.Duration(delayed)
		}
	}
	return waited
}
