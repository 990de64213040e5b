package build

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
}

func TestFindKernelSource(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"linux-source-5.19.tar.xz":   "a",
		"linux-source-6.1.tar.xz":    "a",
		"linux-source-6.12.tar.xz":   "a",
		"linux-source-6.99.tar.gz":   "no xz",
		"linux-source-rt-7.0.tar.xz": "another kernel",
	})
	src, err := FindKernelSource(dir)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "linux-source-6.12.tar.xz"), src.Path, "6.12 is newer than 6.1 and 5.19")

	t.Run("version changes with the file", func(t *testing.T) {
		require.NoError(t, os.WriteFile(src.Path, []byte("longer"), 0o644))
		again, err := FindKernelSource(dir)
		require.NoError(t, err)
		assert.NotEqual(t, src.Version, again.Version)
		require.NoError(t, os.Chtimes(src.Path, time.Time{}, time.Now().Add(time.Hour)))
		later, err := FindKernelSource(dir)
		require.NoError(t, err)
		assert.NotEqual(t, again.Version, later.Version)
	})
}

func TestFindKernelSourceNone(t *testing.T) {
	_, err := FindKernelSource(t.TempDir())
	require.ErrorContains(t, err, "no linux-source-*.tar.xz")
	assert.ErrorContains(t, err, "make setup", "says what to do")
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func TestNeededKernelFile(t *testing.T) {
	for name, want := range map[string]bool{
		"Makefile":                           true,
		"arch/Kconfig":                       true,
		"arch/x86/kvm/x86.c":                 true,
		"arch/arm/kernel/setup.c":            false,
		"arch/arm/crypto/Kconfig":            true, // crypto/Kconfig reads it
		"arch/arm/Makefile":                  false,
		"drivers/gpu/drm/drm_drv.c":          false,
		"drivers/gpu/drm/Kconfig":            true,
		"drivers/gpu/drm/Makefile":           true,
		"drivers/net/virtio_net.c":           true,
		"drivers/net/ethernet/intel/e1000.c": false,
		"include/drm/i915_pciids.h":          true, // arch/x86 reads it
		"Documentation/admin-guide/README":   false,
		"Documentation/Kconfig":              true,
		"tools/objtool/check.c":              true,
		"tools/perf/perf.c":                  false,
		"fs/ext4/super.c":                    true,
		"fs/ext2/super.c":                    false,
		"fs/fat/cache.c":                     true, // the cloud image's /boot/efi
		"fs/isofs/inode.c":                   true, // its seed
		"mm/slub.c":                          true,
		"drivers/newcomer/of_a_later.c":      true, // what is not known is kept
	} {
		assert.Equal(t, want, neededKernelFile(name), name)
	}
}

type tarEntry struct {
	tar.Header
	content string
}

func tarball(t *testing.T, entries ...tarEntry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b
}

func TestUntar(t *testing.T) {
	long := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	b := tarball(t,
		tarEntry{Header: tar.Header{Name: "linux-9.9/", Typeflag: tar.TypeDir, Mode: 0o755}},
		tarEntry{tar.Header{Name: "linux-9.9/scripts/run.sh", Mode: 0o555, ModTime: long}, "#!/bin/sh"},
		tarEntry{Header: tar.Header{Name: "linux-9.9/link", Typeflag: tar.TypeSymlink, Linkname: "scripts/run.sh"}},
		tarEntry{tar.Header{Name: "linux-9.9/unwanted", Mode: 0o644}, "x"},
		tarEntry{tar.Header{Name: "linux-9.9/../../escape", Mode: 0o644}, "x"},
	)
	dir := filepath.Join(t.TempDir(), "sub")
	require.NoError(t, untar(b, dir, func(name string) bool { return name != "unwanted" }))

	st, err := os.Stat(filepath.Join(dir, "scripts/run.sh"))
	require.NoError(t, err)
	assert.True(t, st.ModTime().Equal(long), "make looks at times")
	assert.Equal(t, os.FileMode(0o755), st.Mode(), "writable, so that a build can replace it")
	to, err := os.Readlink(filepath.Join(dir, "link"))
	require.NoError(t, err)
	assert.Equal(t, "scripts/run.sh", to)
	assert.NoFileExists(t, filepath.Join(dir, "unwanted"))
	assert.NoFileExists(t, filepath.Join(filepath.Dir(dir), "escape"))
}

func TestUntarCut(t *testing.T) {
	b := tarball(t, tarEntry{tar.Header{Name: "top/file", Mode: 0o644}, strings.Repeat("x", 2000)})
	b.Truncate(1024)
	require.Error(t, untar(b, t.TempDir(), func(string) bool { return true }))
}

func TestUnpackKernelNotXz(t *testing.T) {
	f := filepath.Join(t.TempDir(), "linux-source-6.1.tar.xz")
	require.NoError(t, os.WriteFile(f, []byte("this is no xz file"), 0o644))
	err := unpackKernel(t.Context(), f, t.TempDir())
	require.ErrorContains(t, err, f)
}
