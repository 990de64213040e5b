package guest

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The lines are from real kernels: 5.x and 6.x on x86-64.
func TestFatalLines(t *testing.T) {
	for _, line := range []string{
		"Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
		"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
		"Kernel panic - not syncing: System is deadlocked on memory",
		"Oops: 0002 [#1] PREEMPT SMP PTI",
		"Oops: 0000 [#1] SMP NOPTI",
		"Oops: Oops: 0002 [#1] SMP PTI",
		"Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
		"BUG: kernel NULL pointer dereference, address: 0000000000000000",
		"BUG: unable to handle page fault for address: ffffc90000a1d000",
		"BUG: unable to handle kernel NULL pointer dereference at 0000000000000000",
		"BUG: scheduling while atomic: insmod/71/0x00000002",
		"BUG: KASAN: slab-out-of-bounds in gpt_dump+0x1c/0x30 [gpt_dump]",
		"kernel BUG at mm/slub.c:379!",
		"general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP NOPTI",
		"general protection fault: 0000 [#1] SMP",
		"double fault: 0000 [#1] PREEMPT SMP PTI",
		"invalid opcode: 0000 [#1] PREEMPT SMP PTI",
		"divide error: 0000 [#1] PREEMPT SMP NOPTI",
		"stack segment: 0000 [#1] PREEMPT SMP NOPTI",
		"Out of memory: Killed process 85 (sysbench) total-vm:1051412kB, anon-rss:218312kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:468kB oom_score_adj:0",
		"Out of memory and no killable processes...",
		"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [qemu-system-x86:81]",
		"virtlab: error: mounting /dev/vda on /lab: invalid argument",
	} {
		for _, prefix := range []string{"", "[    3.141592] ", "[12345.678901] ", "<4>", "<0>[    3.141592] ", "[    3.141592][    T1] ", "[    3.141592][  T103] ", "[    3.141592][   C0] "} {
			for _, end := range []string{"\n", "\r\n"} {
				c := newConsole(nil)
				fmt.Fprint(c, "earlier line\n", prefix, line, end)
				assert.Equal(t, []string{prefix + line}, c.Trouble())
			}
		}
	}
}

func TestHarmlessLines(t *testing.T) {
	for _, line := range []string{
		"",
		"say BUG: no",
		"the test prints Kernel panic - not syncing",
		"[    1.234567] mydriver: BUG: in the middle",
		"[    1.234567] traps: a.out[77] general protection fault ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
		"[    1.234567] traps: a.out[77] trap invalid opcode ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
		"[    1.234567] a.out[77]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in a.out[401000+1000]",
		"[    1.234567] Memory cgroup out of memory: Killed process 85 (a.out) total-vm:1kB",
		"[    1.234567] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2",
		"[    1.234567] Debug: nothing",
		"DEBUG: nothing",
		"BUG without a colon",
		"oops: lower case",
		"[not a time] BUG: x",
		"Command line: console=ttyS0 panic=-1 oops=panic",
		"virtlab: init",
		"virtlab: ssh: EOF",
	} {
		c := newConsole(nil)
		fmt.Fprintln(c, line)
		assert.Empty(t, c.Trouble(), line)
	}
}

func TestTroubleIsToldAfterTheRestHasCome(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprintln(c, "booting")
	fmt.Fprintln(c, "BUG: kernel NULL pointer dereference, address: 0000000000000000")
	select {
	case <-c.trouble:
		require.Fail(t, "told before the oops was read")
	case <-time.After(settle / 3):
	}
	fmt.Fprint(c, "RIP: 0010:gpt_dump+0x1c/0x30\nCall Trace:\n")
	select {
	case <-c.trouble:
	case <-time.After(10 * settle):
		require.Fail(t, "never told")
	}
	assert.Equal(t, []string{"BUG: kernel NULL pointer dereference, address: 0000000000000000", "RIP: 0010:gpt_dump+0x1c/0x30", "Call Trace:"}, c.Trouble())
	fmt.Fprintln(c, "BUG: another") // must not close the channel again
	time.Sleep(settle + 50*time.Millisecond)
}

func TestNoTrouble(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprintln(c, "all is well")
	select {
	case <-c.trouble:
		require.Fail(t, "trouble out of nothing")
	case <-time.After(settle + 100*time.Millisecond):
	}
}

func TestTroubleIsBounded(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprintln(c, "BUG: first")
	for i := range 1000 {
		fmt.Fprintln(c, "line", i)
	}
	assert.Len(t, c.Trouble(), fatalLines)
	assert.Equal(t, "BUG: first", c.Trouble()[0])
}

func TestLinesSplitOverWrites(t *testing.T) {
	text := "[    1.000000] Run /init\r\n[    2.000000] Kernel panic - not syncing: Attempted to kill init!\r\n[    2.000001] CPU: 0\r\n"
	want := []string{"[    2.000000] Kernel panic - not syncing: Attempted to kill init!", "[    2.000001] CPU: 0"}
	for size := 1; size < len(text); size++ {
		c := newConsole(nil)
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			m, err := c.Write(rest[:n])
			require.NoError(t, err)
			require.Equal(t, n, m)
			rest = rest[n:]
		}
		require.Equal(t, want, c.Trouble(), "pieces of %d bytes", size)
		require.Equal(t, text, c.Text())
	}
}

func TestWriteDoesNotKeepItsBuffer(t *testing.T) {
	c := newConsole(nil)
	buf := []byte("BUG: half")
	_, _ = c.Write(buf)
	copy(buf, "#########")
	_, _ = c.Write([]byte(" a line\n"))
	assert.Equal(t, []string{"BUG: half a line"}, c.Trouble())
	assert.Equal(t, "BUG: half a line\n", c.Text())
}

// A line that never ends is one line: its middle is no line's beginning.
func TestEndlessLine(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprint(c, "x")
	for range 100_000 {
		_, _ = c.Write([]byte("BUG: "))
	}
	assert.Empty(t, c.Trouble())
	assert.LessOrEqual(t, cap(c.line), 64<<10)
	fmt.Fprint(c, "\nBUG: a line of its own\n")
	assert.Equal(t, []string{"BUG: a line of its own"}, c.Trouble())
}

func TestLongFatalLineIsShownInPieces(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprint(c, "BUG: "+strings.Repeat("x", 100_000))
	require.NotEmpty(t, c.Trouble())
	assert.True(t, strings.HasPrefix(c.Trouble()[0], "BUG: xxx"))
}

func TestTextLeavesOutTheMiddle(t *testing.T) {
	c := newConsole(nil)
	fmt.Fprintln(c, "first line")
	var total int
	for i := range 100_000 {
		n, _ := fmt.Fprintf(c, "line %d of many more to come\n", i)
		total += n
	}
	fmt.Fprintln(c, "last line")
	text := c.Text()
	assert.True(t, strings.HasPrefix(text, "first line\nline 0 "))
	assert.True(t, strings.HasSuffix(text, "last line\n"))
	var left int64
	i := strings.Index(text, "\n[virtlab: ")
	require.Positive(t, i)
	_, err := fmt.Sscanf(text[i:], "\n[virtlab: %d bytes left out]\n", &left)
	require.NoError(t, err)
	note := fmt.Sprintf("\n[virtlab: %d bytes left out]\n", left)
	assert.Equal(t, int64(total+len("first line\nlast line\n")), int64(len(text)-len(note))+left, "every byte is shown or counted")
}

// counter is an evidence file that only counts.
type counter struct {
	n    int64
	last string
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.last = string(p[max(0, len(p)-100):])
	return len(p), nil
}

func TestFloodStaysInBounds(t *testing.T) {
	var file counter
	c := newConsole(&file)
	chunk := bytes.Repeat([]byte("the guest's console: "+strings.Repeat("flood ", 600)+"\n"), 8) // 32 kB, as os/exec reads
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for sent := 0; sent < 200_000_000; sent += len(chunk) {
		_, _ = c.Write(chunk)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(4<<20))
	assert.LessOrEqual(t, len(c.Text()), 4*consoleKeep)
	assert.Less(t, file.n, int64(fileLimit+100))
	assert.GreaterOrEqual(t, file.n, int64(fileLimit))
	assert.Equal(t, "\n[virtlab: the console went on past 16 MiB]\n", file.last)
	runtime.KeepAlive(c)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left on device") }

// A console that cannot be kept must still be read, or the guest blocks.
func TestEvidenceFileThatFails(t *testing.T) {
	c := newConsole(fullDisk{})
	n, err := c.Write([]byte("BUG: x\n"))
	assert.NoError(t, err)
	assert.Equal(t, 7, n)
	assert.Equal(t, []string{"BUG: x"}, c.Trouble())
}

func TestLast(t *testing.T) {
	c := newConsole(nil)
	assert.Equal(t, "", c.last(3))
	fmt.Fprint(c, "a\nb\n")
	assert.Equal(t, "a\nb", c.last(3))
	fmt.Fprint(c, "c\nd\n\n")
	assert.Equal(t, "b\nc\nd", c.last(3))
}

func TestLastMoved(t *testing.T) {
	c := newConsole(nil)
	before := c.lastMoved()
	time.Sleep(2 * time.Millisecond)
	fmt.Fprint(c, "x")
	assert.Greater(t, c.lastMoved(), before)
}

func TestConsoleInParallel(t *testing.T) {
	c := newConsole(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				fmt.Fprintln(c, "BUG: from many sides")
				_, _, _ = c.Text(), c.Trouble(), c.lastMoved()
			}
		})
	}
	wg.Wait()
	assert.Len(t, c.Trouble(), fatalLines)
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("[    1.0] BUG: x\r\nmore\n"), 3)
	f.Add([]byte("no line end"), 1)
	f.Add(bytes.Repeat([]byte("x"), 10_000), 4095)
	f.Add([]byte("\x00\xff\n\n\r\n<4>Oops: "), 2)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		whole, split := newConsole(nil), newConsole(nil)
		n, err := whole.Write(text)
		require.NoError(t, err)
		require.Equal(t, len(text), n)
		size = min(max(size, 1), 1<<20)
		for rest := text; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			_, _ = split.Write(rest[:min(size, len(rest))])
		}
		require.Less(t, len(split.line), maxLine)
		require.LessOrEqual(t, len(split.Trouble()), fatalLines)
		if len(text) <= consoleKeep {
			require.Equal(t, string(text), split.Text())
		}
		if len(text) < maxLine { // longer lines are cut where writes end
			require.Equal(t, whole.Trouble(), split.Trouble(), "how the text is cut does not matter")
		}
	})
}

func TestLockedBufferIsBounded(t *testing.T) {
	var b lockedBuffer
	for range 1000 {
		n, err := b.Write(bytes.Repeat([]byte("e"), 1000))
		require.NoError(t, err)
		require.Equal(t, 1000, n)
	}
	assert.Len(t, b.String(), 64<<10)
}
