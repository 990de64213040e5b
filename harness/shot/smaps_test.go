package shot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A mapping of guest RAM, a library shared by two, a private heap, and huge pages.
const smaps = `7f0000000000-7f0040000000 rw-p 00000000 00:00 0 
Size:            1048576 kB
KernelPageSize:        4 kB
Rss:               65536 kB
Pss:               65536 kB
Pss_Dirty:         65536 kB
Private_Clean:         0 kB
Private_Dirty:     65536 kB
THPeligible:    0
VmFlags: rd wr mr mw me dc ac sd
7f1000000000-7f1000100000 r-xp 00000000 fe:00 1234                       /usr/lib/lib c.so.6
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
7f3000000000-7f3000400000 rw-s 00000000 00:0e 55                         /memfd:ram (deleted)
Size:               4096 kB
Rss:                   0 kB
Pss:                   0 kB
Shared_Hugetlb:     2048 kB
Private_Hugetlb:    2048 kB
`

func TestParseSmaps(t *testing.T) {
	all, err := parseSmaps(strings.NewReader(smaps))
	require.NoError(t, err)
	assert.Equal(t, []mapping{
		{span{0x7f0000000000, 0x7f0040000000}, "rw-p", "", Usage{1 << 30, 64 << 20, 64 << 20, 64 << 20}},
		{span{0x7f1000000000, 0x7f1000100000}, "r-xp", "/usr/lib/lib c.so.6", Usage{1 << 20, 512 << 10, 256 << 10, 0}},
		{span{0x7f2000000000, 0x7f2000200000}, "rw-p", "[heap]", Usage{2 << 20, 100 << 10, 100 << 10, 100 << 10}},
		{span{0x7f3000000000, 0x7f3000400000}, "rw-s", "/memfd:ram (deleted)", Usage{4 << 20, 4 << 20, 4 << 20, 2 << 20}},
	}, all)
}

// Sums as awk makes them of the files.
func TestSmapsOfRealVMMs(t *testing.T) {
	const kib = 1 << 10
	for _, tt := range []struct {
		file     string
		mappings int
		sum      Usage // in KiB
		largest  int64 // in KiB, of those with anything in them
	}{
		{"gokvm", 28, Usage{2343672, 1054088, 1054085, 272 + 1053812}, 1 << 20},
		{"qemu-microvm", 141, Usage{1428120, 88816, 88813, 7348 + 81464}, 1 << 20},
		{"stratovirt", 35, Usage{1127800, 65484, 65481, 1372 + 64108}, 1<<20 + 1<<10},
	} {
		t.Run(tt.file, func(t *testing.T) {
			f, err := os.Open("testdata/" + tt.file + ".smaps")
			require.NoError(t, err)
			defer f.Close()
			all, err := parseSmaps(f)
			require.NoError(t, err)
			assert.Len(t, all, tt.mappings)
			var sum Usage
			var largest int64
			for _, m := range all {
				sum.add(m.use)
				if m.use.RSS > 0 {
					largest = max(largest, m.bytes())
				}
			}
			assert.Equal(t, Usage{tt.sum.Virtual * kib, tt.sum.RSS * kib, tt.sum.PSS * kib, tt.sum.USS * kib}, sum)
			assert.Equal(t, tt.largest*kib, largest)
		})
	}
}

func TestSmapsThatAreNone(t *testing.T) {
	for _, tt := range []struct{ text, says string }{
		{"", "has the process ended?"},
		{"Rss: 4 kB\n", `it begins with "Rss: 4 kB"`},
		{"2000-1000 rw-p 0 00:00 0\n", "no range of addresses"},
		{"1000-2000 rw-p 0 00:00 0\nRss: many kB\n", "invalid syntax"},
		{"1000-2000 rw-p 0 00:00 0\nRss: -4 kB\n", "no size"},
		{"1000-2000 rw-p 0 00:00 0\nRss: 9223372036854775807 kB\n", "no size"},
	} {
		_, err := parseSmaps(strings.NewReader(tt.text))
		assert.ErrorContains(t, err, tt.says)
	}
}

func FuzzParseSmaps(f *testing.F) {
	f.Add(smaps)
	files, _ := filepath.Glob("testdata/*.smaps")
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseSmaps(strings.NewReader(text))
		if err != nil {
			return
		}
		require.NotEmpty(t, all)
		for _, m := range all {
			require.Positive(t, m.use.Virtual)
			require.GreaterOrEqual(t, m.use.RSS, int64(0))
		}
	})
}
