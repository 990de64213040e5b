package shot

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

// ramOf is a Spec for the fake VMM with guest RAM.
func ramOf(t *testing.T, args ...string) Spec {
	spec := fake("has guest RAM", args...)
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, job.TailBytes), 0o600))
	spec.RAMBytes = fakeRAM * pageSize
	spec.Disk = &Disk{Path: disk, Job: &job.Spec{Pages: len(fakeFilled), Nonce: fakeNonce, End: job.Halt}}
	spec.Grace = 0
	return spec
}

// Guest RAM is found to the page, though it is the middle of a larger mapping.
func TestGuestRAMIsToldFromTheVMMsOwn(t *testing.T) {
	for _, args := range [][]string{nil, {"copies"}} {
		o := shoot(t, ramOf(t, args...))
		require.Empty(t, o.Fault)
		require.Empty(t, o.Missing)
		require.NotNil(t, o.Memory)
		resident := int64(len(fakeFilled)+fakeUsed) * pageSize
		assert.Equal(t, Usage{Virtual: fakeRAM * pageSize, RSS: resident, PSS: resident, USS: resident}, o.Memory.Guest)
		own := o.Memory.Own
		assert.Greater(t, own.USS, int64(2*edge*pageSize))
		assert.Less(t, own.RSS, int64(64<<20), "a Go program's")
		assert.LessOrEqual(t, own.USS, own.PSS)
		assert.LessOrEqual(t, own.PSS, own.RSS)
		assert.Less(t, own.RSS, own.Virtual)
		assert.Greater(t, o.Threads, 1)
		assert.Equal(t, []string{"up", "pages", "done"}, names(o.Frames), "it goes on afterwards")
	}
}

// A guest that tells wrong addresses gives no figure rather than a wrong one.
func TestGuestRAMThatIsNotThere(t *testing.T) {
	o := shoot(t, ramOf(t, "lies"))
	assert.Nil(t, o.Memory)
	require.Len(t, o.Missing, 1)
	assert.Contains(t, o.Missing[0], "memory: guest RAM was not found: 5 of the guest's 5 pages")
	assert.Empty(t, o.Fault, "the boot was measured")
	assert.Equal(t, Killed, o.End)
}

func TestGuestRAMLargerThanItIs(t *testing.T) {
	spec := ramOf(t)
	spec.RAMBytes *= 1 << 20
	o := shoot(t, spec)
	assert.Nil(t, o.Memory)
	assert.Contains(t, strings.Join(o.Missing, "\n"), "bytes of guest RAM are mapped in one piece")
}

func TestAgree(t *testing.T) {
	base := uint64(0x7f0000000000)
	at := func(pages ...uint64) (out []uint64) {
		for _, p := range pages {
			out = append(out, base+p*pageSize)
		}
		return out
	}
	for _, tt := range []struct {
		name         string
		found, pages []uint64
		says         string
	}{
		{"all there", at(3, 1, 2000), []uint64{2000 * pageSize, pageSize, 3 * pageSize}, ""},
		{"copies elsewhere", append(at(3, 1, 2000), 0x5000, 0x6000, 0x7000), []uint64{2000 * pageSize, pageSize, 3 * pageSize}, ""},
		{"one missing", at(3, 1), []uint64{2000 * pageSize, pageSize, 3 * pageSize}, "guest RAM was not found: 2 of the guest's 3 pages"},
		{"none", nil, []uint64{pageSize}, "guest RAM was not found: 0 of"},
		{"one page, two places", at(1, 7), []uint64{pageSize}, "guest RAM was found 2 times"},
		{"a whole copy", append(at(1, 2, 5), 0x2000, 0x3000, 0x6000), []uint64{0x1000, 0x2000, 0x5000}, "guest RAM was found 2 times"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := agree(tt.found, tt.pages)
			if tt.says != "" {
				assert.ErrorContains(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, base, got)
		})
	}
}

// pagemapOf is a pagemap whose pages from address 0 on have these states.
func pagemapOf(states ...uint64) addressSpace {
	var b []byte
	for _, s := range states {
		b = binary.NativeEndian.AppendUint64(b, s)
	}
	return addressSpace{pagemap: bytes.NewReader(b)}
}

func TestDivide(t *testing.T) {
	const none, own, shared = 0, 1<<63 | 1<<56, 1 << 63
	space := pagemapOf(own, shared, none, own, own, shared, shared, none)
	m := mapping{span: span{0, 8 * pageSize}, use: Usage{Virtual: 8 * pageSize, RSS: 6 * pageSize, PSS: 4*pageSize + 512, USS: 3 * pageSize}}
	inside, outside, err := divide(m, span{3 * pageSize, 6 * pageSize}, space)
	require.NoError(t, err)
	assert.Equal(t, Usage{Virtual: 3 * pageSize, RSS: 3 * pageSize, USS: 2 * pageSize, PSS: 2*pageSize + (pageSize+512)/3}, inside)
	sum := inside
	sum.add(outside)
	assert.Equal(t, m.use, sum, "nothing is lost")

	empty := mapping{span: span{0, 2 * pageSize}, use: Usage{Virtual: 2 * pageSize}}
	inside, outside, err = divide(empty, span{pageSize, 2 * pageSize}, pagemapOf(none, none))
	require.NoError(t, err)
	assert.Equal(t, Usage{Virtual: pageSize}, inside)
	assert.Equal(t, Usage{Virtual: pageSize}, outside)
}

func TestOverlap(t *testing.T) {
	assert.Equal(t, span{20, 30}, span{10, 30}.overlap(span{20, 40}))
	assert.Zero(t, span{10, 20}.overlap(span{20, 40}).bytes())
	assert.Zero(t, span{50, 60}.overlap(span{20, 40}).bytes())
	assert.Equal(t, int64(5), span{0, 100}.overlap(span{20, 25}).bytes())
}

func TestTaskState(t *testing.T) {
	for stat, want := range map[string]byte{
		"71 (qemu-system-x86) S 1 71": 'S',
		"71 (a) T (b) R 1 71":         'R',
		"71 (":                        0,
		"":                            0,
		"71 (x) ":                     0,
	} {
		assert.Equal(t, want, taskState(stat), stat)
	}
}

func FuzzTaskState(f *testing.F) {
	f.Add("71 (a) T (b) R 1 71")
	f.Fuzz(func(_ *testing.T, stat string) { taskState(stat) })
}

func TestFreeze(t *testing.T) {
	c := exec.Command("sleep", "1000")
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	pid := c.Process.Pid
	resume, err := freeze(pid)
	require.NoError(t, err)
	running, err := notStopped(pid)
	require.NoError(t, err)
	assert.Empty(t, running)
	resume()
	assert.Eventually(t, func() bool {
		running, err := notStopped(pid)
		return err == nil && strings.Contains(running, "(sleep)")
	}, 5*time.Second, time.Millisecond)

	_ = c.Process.Kill()
	_ = c.Wait()
	_, err = freeze(pid)
	assert.ErrorContains(t, err, "stopping the VMM")
}

// How long a VMM whose guest RAM is resident in full (gokvm's is) stands still: it
// is to be well below what a guest's watchdogs bear.
func BenchmarkFind(b *testing.B) {
	const size = 256 << 20
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	require.NoError(b, err)
	defer unix.Munmap(mem)
	for i := 0; i < size; i += pageSize {
		mem[i] = 1
	}
	fill(mem[77*pageSize:][:pageSize])
	space, done, err := openAddressSpace(os.Getpid())
	require.NoError(b, err)
	defer done()
	lo := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
	b.SetBytes(size)
	for b.Loop() {
		found, err := space.find(span{lo, lo + size}, fakeNonce)
		require.NoError(b, err)
		require.Equal(b, []uint64{lo + 77*pageSize}, found)
	}
}
