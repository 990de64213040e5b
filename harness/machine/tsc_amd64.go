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
	t0, c0 := time.Now(), rdtsc()
	time.Sleep(20 * time.Millisecond)
	t1, c1 := time.Now(), rdtsc()
	return int(float64(c1-c0) / t1.Sub(t0).Seconds() / 1000)
})
