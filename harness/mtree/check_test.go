package mtree

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const gib = 1 << 30

func TestCheckRAM(t *testing.T) {
	for name, bytes := range map[string]uint64{
		"qemu72-pc-mtree.txt":               gib,
		"qemu72-pc-booted-mtree.txt":        gib, // shadow memory counts once
		"qemu72-pc-booted-mtree-D.txt":      gib,
		"qemu72-q35-booted-mtree.txt":       5 * gib,
		"qemu72-microvm-booted-mtree.txt":   5 * gib,
		"qemu72-microvm-booted-mtree-o.txt": 5 * gib,
	} {
		t.Run(name, func(t *testing.T) {
			tree := readTree(t, name)
			require.NoError(t, tree.CheckRAM(bytes))
			assert.ErrorContains(t, tree.CheckRAM(bytes/2), "bytes of RAM")
			assert.Error(t, tree.CheckRAM(bytes+1))
		})
	}
}

func TestDistinctBytes(t *testing.T) {
	spans := []Span{
		{Start: 0x1000, End: 0x1fff, Backer: "a", Offset: 0x800}, // overlaps the next by half
		{Start: 0x0, End: 0xfff, Backer: "a"},
		{Start: 0x5000, End: 0x50ff, Backer: "a", Offset: 0x100}, // inside
		{Start: 0x9000, End: 0x90ff, Backer: "b", Offset: 0x100},
	}
	assert.EqualValues(t, 0x1800+0x100, distinctBytes(spans))
}

func TestCheckRAMSeesAMissingHalf(t *testing.T) {
	text := read(t, "qemu72-q35-booted-mtree.txt")
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.Contains(line, "ram-above-4g") {
			kept = append(kept, line)
		}
	}
	tree, err := Parse(strings.Join(kept, "\n"))
	require.NoError(t, err)
	assert.ErrorContains(t, tree.CheckRAM(5*gib), "the machine has 2147483648 bytes of RAM (2048.0 MiB)")
}

func TestCheckPCIHole(t *testing.T) {
	start, end, err := readTree(t, "qemu72-pc-mtree.txt").PCIHole()
	require.NoError(t, err)
	assert.Equal(t, [2]uint64{gib, 0xfebfffff}, [2]uint64{start, end})
	start, _, err = readTree(t, "qemu72-q35-booted-mtree.txt").PCIHole()
	require.NoError(t, err)
	assert.Equal(t, uint64(2*gib), start)

	require.NoError(t, readTree(t, "qemu72-pc-booted-mtree.txt").CheckPCIHole())
	require.NoError(t, readTree(t, "qemu72-q35-booted-mtree.txt").CheckPCIHole())
	assert.ErrorContains(t, readTree(t, "qemu72-microvm-booted-mtree.txt").CheckPCIHole(), "no PCI bus")

	full := strings.ReplaceAll(read(t, "qemu72-pc-mtree.txt"), "000000003fffffff", "00000000ffffffff")
	tree, err := Parse(full)
	require.NoError(t, err)
	assert.ErrorContains(t, tree.CheckPCIHole(), "no hole")

	filled := strings.Replace(read(t, "qemu72-pc-mtree.txt"), "address-space: memory\n"+
		"  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n", "address-space: memory\n"+
		"  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"+
		"    0000000000000000-ffffffffffffffff (prio 9, i/o): cover\n"+
		"      0000000000000000-ffffffffffffffff (prio 0, ram): pc.ram\n", 1)
	tree, err = Parse(filled)
	require.NoError(t, err)
	assert.ErrorContains(t, tree.CheckPCIHole(), "is RAM")
}

func TestCheckEdu(t *testing.T) {
	unmapped := readTree(t, "qemu72-pc-mtree.txt")
	assert.NoError(t, unmapped.CheckEdu(false))
	assert.ErrorContains(t, unmapped.CheckEdu(true), "is not mapped")

	for _, name := range []string{"qemu72-pc-booted-mtree.txt", "qemu72-q35-booted-mtree-o.txt", "qemu72-q35-booted-mtree-D.txt"} {
		mapped := readTree(t, name)
		require.NoError(t, mapped.CheckEdu(true))
		assert.Equal(t, uint64(0xfea00000), mapped.EduBAR().Start)
		assert.ErrorContains(t, mapped.CheckEdu(false), "should have no edu device")
	}
	assert.ErrorContains(t, readTree(t, "qemu72-microvm-booted-mtree.txt").CheckEdu(true), "-device edu")
}

func TestCheckEduSeesWrongBARs(t *testing.T) {
	good := read(t, "qemu72-pc-booted-mtree.txt")
	const bar = "00000000fea00000-00000000feafffff (prio 1, i/o): edu-mmio"
	for name, test := range map[string]struct{ bar, why string }{
		"size":      {"00000000fea00000-00000000fea0ffff (prio 1, i/o): edu-mmio", "65536 bytes"},
		"alignment": {"00000000fea01000-00000000feb00fff (prio 1, i/o): edu-mmio", "not aligned"},
		"disabled":  {bar + " [disabled]", "does not answer"},
		"covered":   {"00000000fee00000-00000000feefffff (prio 1, i/o): edu-mmio", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := Parse(strings.ReplaceAll(good, bar, test.bar))
			require.NoError(t, err)
			assert.ErrorContains(t, tree.CheckEdu(true), test.why)
		})
	}
}
