package class

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// jobMiB is what one submission under way takes at its peak: L1 with 1 GiB and
// its QEMU, a guest of the I/O lab beside it, the worker, a compiler.
const jobMiB = 1800

// Capacity is how many submissions this machine can grade at a time, and why.
func Capacity() (jobs int, why string) {
	cpus := runtime.GOMAXPROCS(0) // those that affinity and cgroups leave this process
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1, "the free memory is not known: " + err.Error()
	}
	return capacity(cpus, availableMiB(meminfo))
}

func capacity(cpus, memoryMiB int) (jobs int, why string) {
	byMemory := memoryMiB / jobMiB
	why = fmt.Sprintf("%d CPUs; %.1f GiB of memory available, %.1f needed for each", cpus, float64(memoryMiB)/1024, jobMiB/1024.)
	return max(1, min(cpus, byMemory)), why
}

// availableMiB is MemAvailable (proc_meminfo(5)); 0 where it is not told.
func availableMiB(meminfo []byte) int {
	for line := range bytes.Lines(meminfo) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "MemAvailable:" {
			kib, _ := strconv.Atoi(f[1])
			return kib / 1024
		}
	}
	return 0
}
