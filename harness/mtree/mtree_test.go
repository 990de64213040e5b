package mtree

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func read(t testing.TB, name string) string {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(text)
}

func readTree(t testing.TB, name string) *Tree {
	tree, err := Parse(read(t, name))
	require.NoError(t, err)
	return tree
}

func readFlat(t testing.TB, name string) []FlatView {
	views, err := ParseFlat(read(t, name))
	require.NoError(t, err)
	return views
}

// goldens lists the files in testdata that hold trees or flat views.
func goldens(t testing.TB, flat bool) []string {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	var names []string
	for _, path := range paths {
		if strings.Contains(path, "mtree-f") == flat {
			names = append(names, filepath.Base(path))
		}
	}
	require.NotEmpty(t, names)
	return names
}

func joinViews(views []FlatView) string {
	var b strings.Builder
	for _, v := range views {
		b.WriteString(v.String())
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) {
	for _, name := range goldens(t, false) {
		t.Run(name, func(t *testing.T) {
			text := read(t, name)
			assert.Equal(t, text, readTree(t, name).String())
			crlf, err := Parse(strings.ReplaceAll(text, "\n", "\r\n"))
			require.NoError(t, err)
			assert.Equal(t, text, crlf.String())
		})
	}
	for _, name := range goldens(t, true) {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, read(t, name), joinViews(readFlat(t, name)))
		})
	}
}

func TestParseFields(t *testing.T) {
	tree := readTree(t, "qemu72-pc-mtree.txt")
	var names []string
	for _, s := range tree.Spaces {
		names = append(names, s.Name)
	}
	assert.Equal(t, []string{"i440FX", "cpu-smm-0", "cpu-memory-0", "memory", "PIIX3", "PIIX4_PM", "I/O", "edu", "virtio-rng-pci", "piix3-ide"}, names)
	assert.Same(t, tree.Space("memory").Root, tree.Space("cpu-memory-0").Root)
	assert.Nil(t, tree.Space("none"))

	system := tree.Space("memory").Root
	assert.Equal(t, "18446744073709551616", system.Size().String(), "2^64 bytes")
	ram := system.Children[0]
	assert.Equal(t, &Region{End: 1<<30 - 1, Kind: RAM, Name: "ram-below-4g", Alias: &Alias{Target: "pc.ram", End: 1<<30 - 1}}, ram)
	assert.True(t, ram.SizeIs(1<<30))
	assert.False(t, system.SizeIs(0))
	assert.Equal(t, -1, tree.Find("pci").Priority)
	assert.Equal(t, 4096, tree.Find("apic-msi").Priority)
	assert.Nil(t, tree.Find("none"))
}

func TestHiddenParents(t *testing.T) {
	tree := readTree(t, "qemu72-pc-mtree.txt")
	io := tree.Space("I/O").Root
	require.True(t, io.Children[0].Hidden, "acpi-evt is below a disabled region that was not printed")
	assert.Equal(t, "acpi-evt", io.Children[0].Children[0].Name)
	require.Equal(t, "smram", tree.Targets[1].Name)
	assert.True(t, tree.Targets[1].Root.Hidden)

	all := readTree(t, "qemu72-pc-booted-mtree-D.txt")
	disabled := 0
	for r := range all.All() {
		require.False(t, r.Hidden)
		if r.Disabled {
			disabled++
		}
	}
	assert.Equal(t, strings.Count(read(t, "qemu72-pc-booted-mtree-D.txt"), disabledMark), disabled)
}

func TestOwners(t *testing.T) {
	tree := readTree(t, "qemu72-pc-booted-mtree-o.txt")
	assert.Equal(t, "owner:{dev path=/machine/peripheral-anon/device[0]}", tree.Find(EduMMIO).Owner)
	view := ViewOf(readFlat(t, "qemu72-pc-booted-mtree-f-o.txt"), "memory")
	assert.Equal(t, "owner:{obj path=/objects/pc.ram}", view.At(0).Owner)
}

func TestRareLines(t *testing.T) {
	lines := map[string]Region{
		"  0000000000000000-0000000000000fff (prio 0, nv-ram): nvdimm0":                                       {End: 0xfff, Kind: RAM, Name: "nvdimm0", Nonvolatile: true},
		"  0000000000001000-0000000000001fff (prio -7, romd): a flash [disabled]":                             {Start: 0x1000, End: 0x1fff, Priority: -7, Kind: ROMD, Name: "a flash", Disabled: true},
		"  0000000000001000-0000000000001fff (prio 0, ramd): x [disabled] orphan":                             {Start: 0x1000, End: 0x1fff, Kind: RAMD, Name: "x", Disabled: true, Owner: "orphan"},
		"[DETECTED OVERFLOW!]   ffffffffffff0000-0000000000000fff (prio 0, i/o): x":                           {Start: 0xffffffffffff0000, End: 0xfff, Kind: IO, Name: "x", Overflow: true},
		"  0000000000000000-0000000000000000 (prio 0, i/o): x owner:{dev id=a} parent:{obj type=b}":           {Kind: IO, Name: "x", Owner: "owner:{dev id=a} parent:{obj type=b}"},
		"  0000000000000000-00000000000000ff (prio 0, i/o): alias a b @c d 0000000000000000-00000000000000ff": {End: 0xff, Kind: IO, Name: "a b", Alias: &Alias{Target: "c d", End: 0xff}},
	}
	for line, want := range lines {
		text := spacePrefix + "memory\n" + line + "\n\n"
		tree, err := Parse(text)
		require.NoError(t, err, line)
		assert.Equal(t, &want, tree.Spaces[0].Root)
		assert.Equal(t, text, tree.String())
	}
	kvm := "FlatView #0\n AS \"memory\", root: system, alias x\n Root memory region: system\n" +
		"  0000000000001000-0000000000001fff (prio 0, nv-ram): pc.ram @0000000000001000 KVM KVM\n\n"
	views, err := ParseFlat(kvm)
	require.NoError(t, err)
	assert.Equal(t, []string{"KVM", "KVM"}, views[0].Ranges[0].Accel)
	assert.Equal(t, kvm, joinViews(views))
}

func TestRefusals(t *testing.T) {
	const space = "address-space: memory\n"
	const region = "  0000000000000000-000000000000ffff (prio 0, i/o): io\n"
	trees := map[string]string{
		"":                             "is it the output of info mtree?",
		"unknown command: 'info mtre'": "line 1: text outside of an address space",
		space + "garbage\n":            "line 2: not a region",
		space + region + region:        "line 3: a second root region",
		space + region + space:         "a blank line was expected",
		"memory-region: x\n" + region + "\n" + space + region:                         "after the alias targets",
		"memory-region: x\nmemory-region: y\n":                                        "two headers",
		space + strings.Replace(region, "prio 0", "prio 99999999999", 1):              "no 32-bit number",
		space + strings.Replace(region, "000000000000ffff", "00000000000ffff", 1):     "not a region",
		space + "  0000000000000002-0000000000000001 (prio 0, i/o): x\n":              "ends before it starts",
		space + region + strings.Repeat("  ", 100) + strings.TrimSpace(region) + "\n": "nested too deeply",
	}
	for text, why := range trees {
		_, err := Parse(text)
		assert.ErrorContains(t, err, why, "%q", text)
	}
	const view = "FlatView #0\n"
	const one = "  0000000000000000-000000000000ffff (prio 0, i/o): io\n"
	flats := map[string]string{
		"":                                 "is it the output of info mtree -f?",
		one:                                "outside of a FlatView",
		view + "  Dispatch\n":              "not a range",
		view + one + one:                   "overlaps",
		"FlatView #99999999999999999999\n": "no number",
	}
	for text, why := range flats {
		_, err := ParseFlat(text)
		assert.ErrorContains(t, err, why, "%q", text)
	}
}

// TestResolveAgreesWithFlatViews compares at the edges of each rendered range
// what the tree says with what QEMU rendered from it.
func TestResolveAgreesWithFlatViews(t *testing.T) {
	for _, machine := range []string{"qemu72-pc-mtree", "qemu72-pc-booted-mtree", "qemu72-q35-booted-mtree", "qemu72-microvm-booted-mtree"} {
		t.Run(machine, func(t *testing.T) {
			tree, views := readTree(t, machine+".txt"), readFlat(t, machine+"-f.txt")
			tree.Learn(views)
			for _, view := range views {
				for _, space := range view.AddressSpaces {
					compareView(t, tree, &view, space.Name)
				}
			}
		})
	}
}

func compareView(t *testing.T, tree *Tree, view *FlatView, space string) {
	addrs := []uint64{0, 1, ioAPIC, fourGiB, 1 << 62, ^uint64(0)}
	for _, r := range view.Ranges {
		addrs = append(addrs, r.Start-1, r.Start, r.Start+(r.End-r.Start)/2, r.End, r.End+1)
	}
	for _, addr := range addrs {
		got, found := tree.Resolve(space, addr)
		want := view.At(addr)
		if !assert.Equal(t, want != nil, found, "%s %#x: %v, rendered as %v", space, addr, got.Region, want) || want == nil {
			continue
		}
		assert.Equal(t, want.Name, got.Region.Name, "%s %#x", space, addr)
		assert.Equal(t, want.Offset+addr-want.Start, got.Offset, "%s %#x", space, addr)
	}
}

func TestResolveWithoutFlatViews(t *testing.T) {
	tree := readTree(t, "qemu72-pc-booted-mtree.txt")
	tests := []struct {
		addr   uint64
		name   string
		offset uint64
	}{
		{0x100000, "pc.ram", 0x100000},
		{0xfea00008, EduMMIO, 8},
		{0xfee00010, "apic-msi", 0x10},
		{0xfffffff0, "pc.bios", 0x3fff0},
		{0xf0000, "pc.ram", 0xf0000}, // shadowed BIOS
	}
	for _, test := range tests {
		a, found := tree.Resolve(SystemSpace, test.addr)
		require.True(t, found, "%#x", test.addr)
		assert.Equal(t, test.name, a.Region.Name)
		assert.Equal(t, test.offset, a.Offset)
		assert.Equal(t, "system", a.Path[0].Name)
		assert.Same(t, a.Region, a.Path[len(a.Path)-1])
	}
	_, found := tree.Resolve(SystemSpace, 0x40000000)
	assert.False(t, found)
	_, found = tree.Resolve("none", 0)
	assert.False(t, found)
}

func TestResolveSurvivesAliasesThatShowEachOther(t *testing.T) {
	const all = "0000000000000000-ffffffffffffffff"
	var b strings.Builder
	b.WriteString("address-space: memory\n  " + all + " (prio 0, i/o): alias a @a " + all + "\n\n")
	for _, name := range []string{"a", "b", "c"} {
		b.WriteString("memory-region: " + name + "\n  " + all + " (prio 0, i/o): " + name + "\n")
		for _, target := range strings.Repeat("abc", 20) {
			b.WriteString("    " + all + " (prio 0, i/o): alias x @" + string(target) + " " + all + "\n")
		}
		b.WriteString("\n")
	}
	tree, err := Parse(b.String())
	require.NoError(t, err)
	_, found := tree.Resolve(SystemSpace, 5)
	assert.False(t, found)
}

func TestJSON(t *testing.T) {
	tree := readTree(t, "qemu72-pc-mtree.txt")
	encoded, err := json.Marshal(tree)
	require.NoError(t, err)
	var back Tree
	require.NoError(t, json.Unmarshal(encoded, &back))
	assert.Equal(t, tree.Targets, back.Targets)
	assert.Contains(t, string(encoded), `"alias":{"target":"pc.ram","start":0,"end":1073741823}`)
}

func FuzzParse(f *testing.F) {
	for _, name := range goldens(f, false) { // whole files are too long to be minimised in time
		for block := range strings.SplitAfterSeq(read(f, name), "\n\n") {
			f.Add(block)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(tree.String())
		require.NoError(t, err)
		require.Equal(t, tree.String(), again.String())
		tree.Resolve(SystemSpace, 0x1000)
		_ = tree.CheckRAM(1)
		_ = tree.CheckPCIHole()
		_ = tree.CheckEdu(true)
	})
}

func FuzzParseFlat(f *testing.F) {
	for _, name := range goldens(f, true) {
		for block := range strings.SplitAfterSeq(read(f, name), "\n\n") {
			f.Add(block)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		views, err := ParseFlat(text)
		if err != nil {
			return
		}
		again, err := ParseFlat(joinViews(views))
		require.NoError(t, err)
		require.Equal(t, joinViews(views), joinViews(again))
	})
}
