package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// patience is how many times as long as the guest's own time a GuestTimeout lasts at most.
const patience = 3

// GuestTimeout is a context that ends, with cause, when a guest has had that much
// time since. A guest that gets no CPU of the host is not late, unless it gets none
// for several times as long.
func GuestTimeout(ctx context.Context, m machine.Machine, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, giveUp := context.WithTimeoutCause(ctx, patience*d, cause)
	ctx, cancel := context.WithCancelCause(ctx)
	w := startStopwatch(m)
	go func() {
		defer giveUp()
		if w.wait(ctx, d) == nil {
			cancel(cause)
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// stolen is how long the busiest thread of a process and of what it started, a
// VMM's virtual CPU, has waited for a CPU of the host while it could have run, and
// how long the host's own CPUs were taken from it. It is 0 where the kernel does
// not say.
func stolen(pid int) (waited time.Duration) {
	if pid == 0 {
		return 0
	}
	var busiest int64 = -1
	for _, pid := range family(pid) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
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
	}
	stat, _ := os.ReadFile("/proc/stat")
	return waited + steal(string(stat))
}

// family is a process and its descendants: in a sandbox the VMM is not the process
// that was started.
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, word := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// steal is how long each CPU was taken away, on average, by the machine below, as
// /proc/stat (proc(5)) has it.
func steal(stat string) time.Duration {
	const stealColumn, userHz = 8, 100
	var ticks, cpus int64
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) <= stealColumn || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" {
			continue
		}
		n, _ := strconv.ParseInt(f[stealColumn], 10, 64)
		ticks, cpus = ticks+n, cpus+1
	}
	return time.Duration(ticks) * (time.Second / userHz) / time.Duration(max(cpus, 1))
}
