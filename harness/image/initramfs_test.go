package image_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/image"
)

// sample is a tree with every kind of entry; init is a file of the host.
func sample(t *testing.T) *image.Tree {
	t.Helper()
	host := filepath.Join(t.TempDir(), "init")
	require.NoError(t, os.WriteFile(host, []byte("#!/bin/true\n"), 0o600))
	require.NoError(t, os.Chmod(host, 0o755))
	var tree image.Tree
	require.NoError(t, tree.File("/init", host))
	require.NoError(t, tree.Data("/lab/a/deep/file", []byte("content"), 0o640))
	require.NoError(t, tree.Data("/lab/a/empty", nil, 0o666))
	require.NoError(t, tree.Data("/lab/a-b", []byte("sorts between /lab/a and /lab/a/"), 0o644))
	require.NoError(t, tree.Link("/bin/tool", "../init"))
	require.NoError(t, tree.Link("/lab/dangling", "/nowhere"))
	return &tree
}

func initramfs(t *testing.T, tree *image.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, tree.WriteInitramfs(&b))
	return b.Bytes()
}

type entry struct {
	name string
	mode cpio.FileMode
	data string
}

func readBack(t *testing.T, archive []byte) (out []entry) {
	t.Helper()
	r := cpio.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		if h.Mode&cpio.ModeType == cpio.TypeSymlink {
			data = []byte(h.Linkname)
		}
		assert.Zero(t, h.Uid)
		assert.Zero(t, h.Guid)
		out = append(out, entry{h.Name, h.Mode, string(data)})
	}
}

func TestInitramfsRoundTrip(t *testing.T) {
	assert.Equal(t, []entry{
		{"bin", cpio.TypeDir | 0o755, ""},
		{"lab", cpio.TypeDir | 0o755, ""},
		{"lab/a", cpio.TypeDir | 0o755, ""},
		{"lab/a/deep", cpio.TypeDir | 0o755, ""},
		{"bin/tool", cpio.TypeSymlink | 0o777, "../init"},
		{"init", cpio.TypeReg | 0o755, "#!/bin/true\n"},
		{"lab/a-b", cpio.TypeReg | 0o644, "sorts between /lab/a and /lab/a/"},
		{"lab/a/deep/file", cpio.TypeReg | 0o640, "content"},
		{"lab/a/empty", cpio.TypeReg | 0o666, ""},
		{"lab/dangling", cpio.TypeSymlink | 0o777, "/nowhere"},
	}, readBack(t, initramfs(t, sample(t))))
}

// The cpio program is a second opinion on the format.
func TestInitramfsUnpacksWithCpio(t *testing.T) {
	prog, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio program on this machine")
	}
	dir := t.TempDir()
	c := exec.Command(prog, "-idm", "--quiet", "--no-absolute-filenames")
	c.Dir, c.Stdin = dir, bytes.NewReader(initramfs(t, sample(t)))
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
	checkSample(t, dir)
}

// checkSample looks for sample's content below dir.
func checkSample(t *testing.T, dir string) {
	t.Helper()
	for path, want := range map[string]struct {
		mode os.FileMode
		data string
	}{
		"/init":            {0o755, "#!/bin/true\n"},
		"/lab/a/deep/file": {0o640, "content"},
		"/lab/a/empty":     {0o666, ""},
		"/lab/a-b":         {0o644, "sorts between /lab/a and /lab/a/"},
	} {
		b, err := os.ReadFile(dir + path)
		if assert.NoError(t, err) {
			assert.Equal(t, want.data, string(b), path)
		}
		st, err := os.Stat(dir + path)
		if assert.NoError(t, err) {
			assert.Equal(t, want.mode, st.Mode(), path)
		}
	}
	for path, want := range map[string]string{"/bin/tool": "../init", "/lab/dangling": "/nowhere"} {
		target, err := os.Readlink(dir + path)
		assert.NoError(t, err)
		assert.Equal(t, want, target, path)
	}
	st, err := os.Stat(dir + "/lab/a")
	if assert.NoError(t, err) {
		assert.Equal(t, os.ModeDir|0o755, st.Mode())
	}
}

func TestInitramfsIsDeterministic(t *testing.T) {
	first := initramfs(t, sample(t))
	for range 10 { // map order differs from one tree to the next
		assert.Equal(t, first, initramfs(t, sample(t)))
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o077) // must not matter
	defer syscall.Umask(old)
	require.NoError(t, sample(t).Extract(dir))
	checkSample(t, dir)
}

func TestTreeRefuses(t *testing.T) {
	for _, p := range []string{"", "/", "a", "./a", "/a/", "//a", "/a/../b", "/a/./b", "/.."} {
		t.Run("path "+p, func(t *testing.T) {
			var tree image.Tree
			assert.ErrorContains(t, tree.Data(p, nil, 0o644), "is not a clean absolute path")
			assert.ErrorContains(t, tree.Link(p, "/x"), "is not a clean absolute path")
		})
	}
	for _, c := range []struct {
		name string
		add  func(*image.Tree) error
		want string
	}{
		{"other content", func(t *image.Tree) error { return t.Data("/f", []byte("other"), 0o644) }, "/f is given twice"},
		{"other permissions", func(t *image.Tree) error { return t.Data("/f", []byte("data"), 0o755) }, "/f is given twice"},
		{"a link over a file", func(t *image.Tree) error { return t.Link("/f", "/g") }, "/f is given twice"},
		{"another link", func(t *image.Tree) error { return t.Link("/l", "/g") }, "/l is given twice"},
		{"a file below a file", func(t *image.Tree) error { return t.Data("/f/below", nil, 0o644) }, "a file and a directory"},
		{"a file below a link", func(t *image.Tree) error { return t.Data("/l/below", nil, 0o644) }, "a file and a directory"},
		{"a file over a directory", func(t *image.Tree) error { return t.Data("/d", nil, 0o644) }, "a file and a directory"},
		{"a link to nothing", func(t *image.Tree) error { return t.Link("/n", "") }, "the link /n has no target"},
		{"a directory of the host", func(t *image.Tree) error { return t.File("/h", "/proc") }, "/proc: not a regular file"},
		{"a device of the host", func(t *image.Tree) error { return t.File("/h", os.DevNull) }, "not a regular file"},
		{"what is not there", func(t *image.Tree) error { return t.File("/h", "/no/such/file") }, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tree image.Tree
			require.NoError(t, tree.Data("/f", []byte("data"), 0o644))
			require.NoError(t, tree.Link("/l", "/target"))
			require.NoError(t, tree.Data("/d/sub/file", nil, 0o644))
			before := initramfs(t, &tree)
			require.ErrorContains(t, c.add(&tree), c.want)
			assert.Equal(t, before, initramfs(t, &tree), "what is refused changes nothing")
		})
	}
}

func TestTreeTakesTheSameTwice(t *testing.T) {
	tree := sample(t)
	require.NoError(t, tree.Data("/lab/a/deep/file", []byte("content"), 0o640))
	require.NoError(t, tree.Link("/bin/tool", "../init"))
}

func TestHostFileThatWentAway(t *testing.T) {
	host := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(host, nil, 0o644))
	var tree image.Tree
	require.NoError(t, tree.File("/f", host))
	require.NoError(t, os.Remove(host))
	assert.ErrorIs(t, tree.WriteInitramfs(io.Discard), os.ErrNotExist)
	assert.ErrorIs(t, tree.Extract(t.TempDir()), os.ErrNotExist)
}

func TestWriteInitramfsReportsItsWriter(t *testing.T) {
	assert.ErrorIs(t, sample(t).WriteInitramfs(fullDisk{}), syscall.ENOSPC)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestEmptyTree(t *testing.T) {
	var tree image.Tree
	assert.Empty(t, readBack(t, initramfs(t, &tree)))
}

func names(entries []entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, "/"+e.name)
	}
	return strings.Join(out, "\n")
}
