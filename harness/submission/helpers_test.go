package submission

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree is files by path.
type tree map[string]string

// write makes a folder of it.
func (files tree) write(t testing.TB, dir string) string {
	t.Helper()
	for name, body := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(body), 0o644))
	}
	return dir
}

// zip packs it as a Go program would: UTF-8 names, marked as such.
func (files tree) zip(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, body := range files {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(body))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// item is an entry of a zip file made byte by byte, so that it can lie. Zero
// fields are what an honest zip program would write.
type item struct {
	name   string
	body   string // as packed
	flags  uint16
	method uint16
	mode   uint32 // Unix mode; 0: made on FAT
	size   uint32 // unpacked, as claimed
	packed uint32 // as claimed
	crc    uint32 // as claimed
	sameAs int    // n: no data of its own, but those of the nth item (from 1)
	extra  []byte
}

// rawZip writes local headers with the data, and then the directory.
func rawZip(items ...item) []byte {
	var out, dir bytes.Buffer
	offsets := make([]int, len(items))
	le := func(w *bytes.Buffer, values ...any) {
		for _, v := range values {
			_ = binary.Write(w, binary.LittleEndian, v)
		}
	}
	for i, it := range items {
		common := []any{uint16(20), it.flags, it.method, uint16(0), uint16(0x5a21), cmp.Or(it.crc, crc32.ChecksumIEEE([]byte(it.body))),
			cmp.Or(it.packed, uint32(len(it.body))), cmp.Or(it.size, uint32(len(it.body))), uint16(len(it.name)), uint16(len(it.extra))}
		offsets[i] = out.Len()
		if it.sameAs > 0 {
			offsets[i] = offsets[it.sameAs-1]
		} else {
			le(&out, uint32(0x04034b50))
			le(&out, common...)
			out.WriteString(it.name)
			out.Write(it.extra)
			out.WriteString(it.body)
		}
		creator := uint16(20)
		if it.mode != 0 {
			creator |= 3 << 8 // Unix
		}
		le(&dir, uint32(0x02014b50), creator)
		le(&dir, common...)
		le(&dir, uint16(0), uint16(0), uint16(0), it.mode<<16, uint32(offsets[i]))
		dir.WriteString(it.name)
		dir.Write(it.extra)
	}
	start := out.Len()
	out.Write(dir.Bytes())
	le(&out, uint32(0x06054b50), uint16(0), uint16(0), uint16(len(items)), uint16(len(items)), uint32(dir.Len()), uint32(start), uint16(0))
	return out.Bytes()
}

// handIn writes a file to be handed in.
func handIn(t testing.TB, name string, content []byte) Handin {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(p, content, 0o644))
	return handin(p)
}

// open takes in what must be fit for it.
func open(t testing.TB, h Handin) *Submission {
	t.Helper()
	s, err := Open(t.Context(), h, filepath.Join(t.TempDir(), "in"), Limits{})
	require.NoError(t, err)
	return s
}

// openTree takes in a folder.
func openTree(t testing.TB, files tree) *Submission {
	t.Helper()
	return open(t, handin(files.write(t, filepath.Join(t.TempDir(), "work"))))
}

// contents reads back what lies below dir, links and all.
func contents(t testing.TB, dir string) tree {
	t.Helper()
	files := tree{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		require.NoError(t, err)
		require.True(t, d.Type().IsRegular(), "%s is no plain file", rel)
		body, err := os.ReadFile(p)
		files[filepath.ToSlash(rel)] = string(body)
		return err
	}))
	return files
}

// roles are the paths of a submission's files by role.
func roles(s *Submission) map[Role][]string {
	by := map[Role][]string{}
	for _, f := range s.Files {
		by[f.Role] = append(by[f.Role], f.Path)
	}
	return by
}

// note is the note of a file.
func note(t testing.TB, s *Submission, path string) string {
	t.Helper()
	var notes []string
	for _, f := range s.Files {
		if f.Path == path {
			notes = append(notes, f.Note)
		}
	}
	require.NotEmpty(t, notes, "no %s", path)
	return strings.Join(notes, "|")
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

// Sources that are just enough to be told apart.
const (
	vmmSource    = "#include <linux/kvm.h>\nint main(void) { return KVM_RUN; }\n"
	eduSource    = "#include \"qemu/osdep.h\"\ntype_init(edu)\n"
	driverSource = "static struct pci_driver d;\nmodule_init(start);\n"
	walkSource   = "static int start(void) { return kvm_hypercall1(22, 0); }\nmodule_init(start);\n"
	testSource   = "int main(void) { return ioctl(0, 0); }\n"
)
