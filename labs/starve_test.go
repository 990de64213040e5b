package labs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness"
	"virtlab/harness/edu"
	"virtlab/harness/machine"
)

// On a busy host the thread in which the edu device computes may not get to run
// for seconds, while the guest's clock, which counts instructions, races on. Our
// driver waits for it all the same: no one may lose points to a busy host.
func TestGuestOutrunsDevice(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	guest, err := lab.TryEdu(machine.Host, harness.Assets().QEMU)
	require.NoError(t, err)
	require.NoError(t, guest.Modprobe(lab.Ctx, "pci"))

	test := lab.Program(guest.Guest, "test")
	_, err = machine.Run(lab.Ctx, guest, test, "id") // from now on it is in the guest's memory: the threads that read its disk are held, too
	require.NoError(t, err)

	const held = 2 * time.Second
	start := time.Now()
	release := hold(t, sleepers(t, guest.Pid()), held)
	out, err := machine.Run(lab.Ctx, guest, test, "factpoll", "10")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(start), held, "the device could not compute before")
	require.NoError(t, <-release)
	answers, err := edu.ParseAnswers(out)
	require.NoError(t, err)
	assert.Equal(t, []string{"0x375f00"}, answers["factpoll"])
}

// sleepers are the threads of a VMM that have not done any work: neither its first
// one, which serves the guest's sockets, nor its vCPU.
func sleepers(t *testing.T, pid int) (tids []int) {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		require.NoError(t, err)
		// proc(5): after the name in brackets, utime is the 12th field.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		require.NoError(t, err)
		if tid != pid && fields[11] == "0" {
			tids = append(tids, tid)
		}
	}
	require.NotEmpty(t, tids)
	return tids
}

// hold stops threads of another process, and returns when they stand still. They
// go on after d; the channel then tells how that went.
func hold(t *testing.T, tids []int, d time.Duration) <-chan error {
	t.Helper()
	held, released := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // a tracer is a thread
		defer runtime.UnlockOSThread()
		for i, tid := range tids {
			if err := attach(tid); err != nil {
				tids = tids[:i]
				held <- err
				break
			}
		}
		close(held)
		time.Sleep(d)
		var err error
		for _, tid := range tids {
			err = unix.PtraceDetach(tid)
		}
		released <- err
	}()
	require.NoError(t, <-held)
	return released
}

func attach(tid int) error {
	if err := unix.PtraceAttach(tid); err != nil {
		return err
	}
	_, err := unix.Wait4(tid, nil, unix.WALL, nil)
	return err
}
