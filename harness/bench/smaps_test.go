package bench

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A mapping of guest RAM, a library shared by two, and a private heap.
const smaps = `7f0000000000-7f0040000000 rw-p 00000000 00:00 0
Size:            1048576 kB
KernelPageSize:        4 kB
Rss:               65536 kB
Pss:               65536 kB
Private_Clean:         0 kB
Private_Dirty:     65536 kB
VmFlags: rd wr mr mw me dc ac sd
7f1000000000-7f1000100000 r-xp 00000000 fe:00 1234                       /usr/lib/libc.so.6
Size:               1024 kB
Rss:                 512 kB
Pss:                 256 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
7f2000000000-7f2000200000 rw-p 00000000 00:00 0                          [heap]
Size:               2048 kB
Rss:                 100 kB
Pss:                 100 kB
Private_Clean:         4 kB
Private_Dirty:        96 kB
`

func TestParseSmaps(t *testing.T) {
	m, err := parseSmaps(bufio.NewScanner(strings.NewReader(smaps)), 1<<30)
	require.NoError(t, err)
	assert.Equal(t, Memory{
		Virtual: (1048576 + 1024 + 2048) << 10,
		RSS:     (65536 + 512 + 100) << 10,
		PSS:     (65536 + 256 + 100) << 10,
		USS:     (65536 + 100) << 10,
		Guest:   65536 << 10,
	}, m)
}

func TestParseSmapsOfAnEndedProcess(t *testing.T) {
	_, err := parseSmaps(bufio.NewScanner(strings.NewReader("")), 1<<30)
	assert.ErrorContains(t, err, "has the process ended?")
}

// This very process, with a mapping that stands for guest RAM.
func TestProcessMemory(t *testing.T) {
	const ram, touched = 96 << 20, 8 << 20
	mem, err := unix.Mmap(-1, 0, ram, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	require.NoError(t, err)
	defer unix.Munmap(mem)
	require.NoError(t, unix.Madvise(mem, unix.MADV_NOHUGEPAGE))
	for i := 0; i < touched; i += 4096 {
		mem[i] = 1
	}
	m, err := ProcessMemory(os.Getpid(), ram)
	require.NoError(t, err)
	assert.Equal(t, int64(touched), m.Guest)
	assert.Greater(t, m.RSS, m.Guest)
	assert.LessOrEqual(t, m.USS, m.RSS)
	assert.GreaterOrEqual(t, m.Virtual, int64(ram))
}

func FuzzParseSmaps(f *testing.F) {
	f.Add(smaps)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseSmaps(bufio.NewScanner(strings.NewReader(text)), 1<<30)
	})
}
