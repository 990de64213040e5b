package machine

import (
	"sync"
	"time"
)

func rdtsc() uint64

// TSCkHz is the rate of this host's time-stamp counter in kHz, measured once
// over 20 ms against the monotonic clock (SDM vol. 3, 18.17). Under TCG a guest
// reads the same counter.
var TSCkHz = sync.OnceValue(func() int {
	t0, c0 := readBoth()
	time.Sleep(20 * time.Millisecond)
	t1, c1 := readBoth()
	return int(float64(c1-c0) / t1.Sub(t0).Seconds() / 1000)
})

// readBoth reads the clock and the counter at one moment. Of several tries it
// keeps the one that took least: in others the process may have been preempted
// between the two.
func readBoth() (at time.Time, count uint64) {
	least := ^uint64(0)
	for range 16 {
		before := rdtsc()
		now := time.Now()
		if took := rdtsc() - before; took < least {
			least, at, count = took, now, before+took/2
		}
	}
	return at, count
}
