package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// koFile is a relocatable ELF file whose one section is .modinfo; nil: whose
// one section is another. No kernel loads it.
func koFile(t *testing.T, modinfo []string) []byte {
	t.Helper()
	section, info := ".modinfo", strings.Join(modinfo, "\x00")+"\x00"
	if modinfo == nil {
		section = ".comment"
	}
	names := "\x00" + section + "\x00.shstrtab\x00"
	const header, entry = 64, 64 // sizes of Elf64_Ehdr and Elf64_Shdr
	infoAt := uint64(header)
	namesAt := infoAt + uint64(len(info))
	var b bytes.Buffer
	put := func(v any) { require.NoError(t, binary.Write(&b, binary.LittleEndian, v)) }
	put(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: namesAt + uint64(len(names)), Ehsize: header, Shentsize: entry, Shnum: 3, Shstrndx: 2,
	})
	b.WriteString(info + names)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info)), Addralign: 1})
	put(elf.Section64{Name: uint32(len(section) + 2), Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names)), Addralign: 1})
	return b.Bytes()
}

// modules makes a module directory, name to its depends= value, and has
// findModule look there.
func modules(t *testing.T, depends map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	old := moduleDirs
	moduleDirs = []string{filepath.Join(dir, "absent"), dir}
	t.Cleanup(func() { moduleDirs = old })
	for name, list := range depends {
		ko := koFile(t, []string{"license=GPL", "depends=" + list, "name=" + name, "vermagic=6.1.0 SMP mod_unload "})
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".ko"), ko, 0o644))
	}
	return dir
}

func TestDependencies(t *testing.T) {
	for _, c := range []struct {
		name    string
		modinfo []string
		want    []string
	}{
		{"several", []string{"license=GPL", "depends=kvm,ccp", "vermagic=6.1.0"}, []string{"kvm", "ccp"}},
		{"one", []string{"depends=kvm"}, []string{"kvm"}},
		{"none", []string{"license=GPL", "depends="}, nil},
		{"no word of it", []string{"license=GPL"}, nil},
		{"a key that ends alike", []string{"softdepends=x", "description=depends=y"}, nil},
		{"padding between the strings", []string{"a=b", "", "", "depends=kvm", ""}, []string{"kvm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.ko")
			require.NoError(t, os.WriteFile(path, koFile(t, c.modinfo), 0o644))
			deps, err := dependencies(path)
			require.NoError(t, err)
			assert.Equal(t, c.want, deps)
		})
	}
}

func TestDependenciesOfWhatIsNoModule(t *testing.T) {
	dir := t.TempDir()
	text, object := filepath.Join(dir, "text.ko"), filepath.Join(dir, "object.ko")
	require.NoError(t, os.WriteFile(text, bytes.Repeat([]byte("not an ELF file "), 100), 0o644))
	require.NoError(t, os.WriteFile(object, koFile(t, nil), 0o644))
	_, err := dependencies(text)
	assert.ErrorContains(t, err, "module "+text+": bad magic number")
	_, err = dependencies(object)
	assert.EqualError(t, err, "module "+object+": no .modinfo section: not a kernel module")
	_, err = dependencies(filepath.Join(dir, "absent.ko"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestFindModule(t *testing.T) {
	dir := modules(t, map[string]string{"kvm-amd": "", "gpt_dump": ""})
	for name, want := range map[string]string{
		"kvm-amd": dir + "/kvm-amd.ko", "kvm_amd": dir + "/kvm-amd.ko",
		"gpt_dump": dir + "/gpt_dump.ko", "gpt-dump": dir + "/gpt_dump.ko",
		"/x/y.ko": "/x/y.ko",
	} {
		got, err := findModule(name)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := findModule("nosuch")
	assert.EqualError(t, err, "module nosuch: not in "+moduleDirs[0]+" or "+dir)
}

// No kernel takes these files, so the error names the module that was tried
// first: the one at the bottom.
func TestDependenciesAreLoadedFirst(t *testing.T) {
	modules(t, map[string]string{"top": "mid-one", "mid-one": "bottom", "bottom": ""})
	assert.ErrorContains(t, modprobe([]string{"top", "nonce=1"}), "module bottom.ko: ")
}

func TestMissingDependency(t *testing.T) {
	dir := modules(t, map[string]string{"top": "absent"})
	assert.EqualError(t, modprobe([]string{"top"}),
		"top.ko needs it: module absent: not in "+moduleDirs[0]+" or "+dir)
}

func TestModprobeUsage(t *testing.T) {
	assert.ErrorContains(t, modprobe(nil), "usage: modprobe NAME|FILE.ko")
}

func FuzzDependencies(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "m.ko")
		require.NoError(t, os.WriteFile(path, b, 0o644))
		_, _ = dependencies(path)
	})
}
