package edu

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHabitsOfTheCourse(t *testing.T) {
	all := traceOf(t, "course.mmio-trace.txt").Habits(DriverMemory{BAR: 0xffffc90000700000})
	require.Len(t, all, 2, "%v", all)
	assert.Contains(t, all[0], "DMA: 0x700100 is the low half of 0xffffc90000700100, the virtual address of the mapped BAR plus 0x100: the device wants a bus address, so it overwrites")
	assert.Contains(t, all[1], "0x700104")
	assert.Regexp(t, `\(line \d+ of the MMIO trace\)$`, all[0])
}

func TestHabitsOfTheReference(t *testing.T) {
	assert.Empty(t, traceOf(t, "reference.mmio-trace.txt").Habits(DriverMemory{}))
}

func TestHabits(t *testing.T) {
	for name, c := range map[string]struct {
		trace []string
		says  []string
	}{
		"awaited":          {[]string{"w 08 5", "r 20 1", "r 20 0", "r 08 78"}, nil},
		"not awaited":      {[]string{"w 08 5", "r 08 5", "w 08 6", "r 08 6"}, []string{"factorial: the result was read before bit 0x01 of register 0x20 was seen clear; a sleep is no wait, the device may take longer (line 1 of the MMIO trace, and 1 more)"}},
		"acknowledged":     {[]string{"w 60 5", "r 24 5", "w 64 5", "r 24 0"}, nil},
		"not acknowledged": {[]string{"w 60 5", "r 24 5", "r 24 5", "w 64 1"}, []string{"interrupt: its status was read at 0x24"}},
		"moves nothing":    {[]string{"w 80 1000", "w 88 40000", "w 90 0", "w 98 1"}, []string{"DMA: it moves nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := trace(t, c.trace...).Habits(DriverMemory{})
			require.Len(t, all, len(c.says), "%v", all)
			for i := range all {
				assert.Contains(t, all[i], c.says[i])
			}
		})
	}
}

func TestAdded(t *testing.T) {
	assert.Equal(t, []uint64{0x28, 0x2c, 0x30}, trace(t, "w 28 5", "w 2c 6", "r 30 1", "r 00 0", "w8 80 1", "r 84 0", "r 64 0").Added())
	assert.Empty(t, traceOf(t, "course.mmio-trace.txt").Added(), "it reads them all and writes none")
	tr := trace(t, "w 28 5")
	assert.True(t, tr.Writes(0x28, 5))
	assert.False(t, tr.Writes(0x28, 6))
}

const vmallocinfo = `0xffffc90000000000-0xffffc90000005000   20480 memremap+0x1b1/0x2a0 phys=0x000000000ffe0000 ioremap
0xffffc90000005000-0xffffc90000007000    8192 gen_pool_add_owner+0x3e/0xa0 pages=1 vmalloc
0xffffc90000700000-0xffffc90000801000 1052672 pci_iomap_range+0x5a/0x80 phys=0x00000000feb00000 ioremap
`

func TestMappedAt(t *testing.T) {
	virt, ok := MappedAt(vmallocinfo, 0xfeb00000)
	assert.True(t, ok)
	assert.Equal(t, uint64(0xffffc90000700000), virt)
	_, ok = MappedAt(vmallocinfo, 0xfea00000)
	assert.False(t, ok)
	_, ok = MappedAt(strings.ReplaceAll(vmallocinfo, "0xffffc90000700000", "0x0000000000000000"), 0xfeb00000)
	assert.False(t, ok, "a hidden address is none")

	at, err := BARAddress("0x00000000feb00000 0x00000000febfffff 0x0000000000040200\n0x0 0x0 0x0\n")
	require.NoError(t, err)
	assert.Equal(t, uint64(0xfeb00000), at)
	for _, text := range []string{"", "0x0 0x0 0x0", "what"} {
		_, err = BARAddress(text)
		assert.ErrorContains(t, err, "no BAR 0")
	}
}

func FuzzMappedAt(f *testing.F) {
	f.Add(vmallocinfo, uint64(0xfeb00000))
	f.Fuzz(func(t *testing.T, text string, phys uint64) {
		virt, ok := MappedAt(text, phys)
		assert.Equal(t, ok, virt != 0)
	})
}
