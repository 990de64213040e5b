package shot

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/image"
	"virtlab/harness/job"
)

// The base stays as it is, and behind it is an archive with the job, whose place
// in it the guest's runner reads as it reads a disk's end.
func TestInitramfs(t *testing.T) {
	dir := t.TempDir()
	var tree image.Tree
	require.NoError(t, tree.Data("/init", []byte("PID 1"), 0o755))
	var base bytes.Buffer
	require.NoError(t, tree.WriteInitramfs(&base))
	base.WriteString("xy") // what Linux skips must not shift what follows
	base.Truncate(base.Len() - 2)
	i := Initramfs{Base: filepath.Join(dir, "base"), Path: filepath.Join(dir, "initramfs"), Job: &job.Spec{MarkerBytes: 14, End: job.Reboot}}
	require.NoError(t, os.WriteFile(i.Base, base.Bytes(), 0o600))
	require.NoError(t, i.write())

	made, err := os.ReadFile(i.Path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(made, base.Bytes()))
	start := (base.Len() + 3) &^ 3
	r := cpio.NewReader(bytes.NewReader(made[start:]))
	for {
		h, err := r.Next()
		require.False(t, errors.Is(err, io.EOF), "no %s in it", JobFile)
		require.NoError(t, err)
		if "/"+h.Name == JobFile {
			break
		}
	}
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	file := filepath.Join(dir, "job")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	spec, err := job.ReadTail(file)
	require.NoError(t, err)
	assert.Equal(t, *i.Job, spec)
}

func TestInitramfsWithoutBase(t *testing.T) {
	i := Initramfs{Base: "/nonexistent", Path: filepath.Join(t.TempDir(), "initramfs"), Job: &job.Spec{End: job.Reboot}}
	assert.ErrorIs(t, i.write(), os.ErrNotExist)
}
