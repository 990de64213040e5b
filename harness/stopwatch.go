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
	vmm     int // process id; 0 where the machine is not a guest on the host
	start   time.Time
	threads map[string]schedstat // of the VMM, at the start
	steal   time.Duration        // at the start
	waited  time.Duration        // since the start, as far as it has been seen
}

// startStopwatch starts one for m.
func startStopwatch(m machine.Machine) *stopwatch {
	w := &stopwatch{start: time.Now()}
	if g, ok := m.(interface{ Pid() int }); ok {
		w.vmm = g.Pid()
	}
	if w.vmm != 0 {
		w.threads, w.steal = threads(w.vmm), steal()
	}
	return w
}

// elapsed is the time since the start that the guest had.
func (w *stopwatch) elapsed() time.Duration {
	if w.vmm == 0 {
		return time.Since(w.start)
	}
	// A list of threads may lack some: what was seen once has been waited.
	w.waited = max(w.waited, busiestWait(w.threads, threads(w.vmm)))
	return time.Since(w.start) - w.waited - (steal() - w.steal)
}

// wait waits until that much time has elapsed, or the context's error.
func (w *stopwatch) wait(ctx context.Context, d time.Duration) error {
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

// schedstat is how long a thread ran, and waited for a CPU while it could have run
// (Documentation/scheduler/sched-stats.rst).
type schedstat struct{ ran, waited time.Duration }

// threads are those of a process and of what it started, by their files in /proc;
// none where the kernel does not say.
func threads(pid int) map[string]schedstat {
	all := map[string]schedstat{}
	for _, pid := range family(pid) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range files {
			var s schedstat
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if _, err := fmt.Sscan(string(text), (*int64)(&s.ran), (*int64)(&s.waited)); err == nil {
				all[file] = s
			}
		}
	}
	return all
}

// busiestWait is how long the busiest thread between two looks, a VMM's virtual CPU,
// waited for a CPU of the host.
func busiestWait(before, after map[string]schedstat) (waited time.Duration) {
	busiest := time.Duration(-1)
	for file, now := range after {
		then := before[file]
		w := now.waited - then.waited
		if busy := now.ran - then.ran + w; busy > busiest {
			busiest, waited = busy, w
		}
	}
	return waited
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

// steal is how long the machine below has taken each of this one's CPUs away, on
// average.
func steal() time.Duration {
	stat, _ := os.ReadFile("/proc/stat")
	return stealIn(string(stat))
}

// stealIn reads it from the text of /proc/stat (proc(5)).
func stealIn(stat string) time.Duration {
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
