package image_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/image"
)

// e2fs finds a program of e2fsprogs, which a user's PATH often leaves out.
func e2fs(t *testing.T, name string) string {
	t.Helper()
	for _, p := range []string{"/sbin/" + name, "/usr/sbin/" + name, name} {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	t.Skipf("no %s on this machine", name)
	return ""
}

func debugfs(t *testing.T, img, request string) string {
	t.Helper()
	out, err := exec.Command(e2fs(t, "debugfs"), "-R", request, img).Output()
	require.NoError(t, err)
	return string(out)
}

// fsck is mkfs's other half: the image is sound.
func fsck(t *testing.T, img string) {
	t.Helper()
	out, err := exec.Command(e2fs(t, "e2fsck"), "-f", "-n", img).CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	if assert.Len(t, left, 1, "leftovers") {
		assert.Equal(t, name, left[0].Name())
	}
}

func TestWriteDisk(t *testing.T) {
	e2fs(t, "mkfs.ext4")
	img := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, sample(t).WriteDisk(t.Context(), img))
	onlyFile(t, filepath.Dir(img), "disk.img")
	fsck(t, img)
	assert.Equal(t, "content", debugfs(t, img, "cat /lab/a/deep/file"))
	assert.Equal(t, "#!/bin/true\n", debugfs(t, img, "cat /init"))
	assert.Contains(t, debugfs(t, img, "stat /init"), "Mode:  0755")
	assert.Contains(t, debugfs(t, img, "stat /lab/a/deep/file"), "Mode:  0640")
	assert.Contains(t, debugfs(t, img, "stat /bin/tool"), `Fast link dest: "../init"`)
	assert.NotContains(t, debugfs(t, img, "features"), "has_journal")

	out := t.TempDir()
	debugfs(t, img, "rdump /init /lab /bin "+out)
	checkSample(t, out)
}

// A tree of many small files and one large: the size that WriteDisk computes
// has room for both.
func TestWriteDiskHasRoom(t *testing.T) {
	e2fs(t, "mkfs.ext4")
	big := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(big, []byte(strings.Repeat("virtlab\n", 8<<20)), 0o644))
	var tree image.Tree
	require.NoError(t, tree.File("/big", big))
	for _, dir := range "abcdefghijklmnopqrstuvwxyz" {
		for _, f := range "abcdefghijklmnopqrstuvwxyz" {
			require.NoError(t, tree.Data("/"+string(dir)+"/"+string(f), []byte("x"), 0o644))
		}
	}
	img := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, tree.WriteDisk(t.Context(), img))
	fsck(t, img)
	assert.Equal(t, "x", debugfs(t, img, "cat /z/z"))
}

func TestWriteDiskReplaces(t *testing.T) {
	e2fs(t, "mkfs.ext4")
	img := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, image.WriteEmptyDisk(t.Context(), img, 64))
	require.NoError(t, sample(t).WriteDisk(t.Context(), img))
	fsck(t, img)
	assert.Equal(t, "content", debugfs(t, img, "cat /lab/a/deep/file"))
}

func TestWriteEmptyDisk(t *testing.T) {
	e2fs(t, "mkfs.ext4")
	img := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, image.WriteEmptyDisk(t.Context(), img, 32))
	st, err := os.Stat(img)
	require.NoError(t, err)
	assert.Equal(t, int64(32<<20), st.Size())
	fsck(t, img)
	assert.Contains(t, debugfs(t, img, "ls /"), "lost+found")
}

func TestWriteDiskFails(t *testing.T) {
	e2fs(t, "mkfs.ext4")
	t.Run("no directory", func(t *testing.T) {
		assert.ErrorIs(t, sample(t).WriteDisk(t.Context(), "/no/such/dir/disk.img"), os.ErrNotExist)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := t.TempDir()
		require.ErrorIs(t, sample(t).WriteDisk(ctx, filepath.Join(dir, "disk.img")), context.Canceled)
		left, err := filepath.Glob(filepath.Join(dir, "tree*"))
		require.NoError(t, err)
		assert.Empty(t, left, "the extracted tree is removed")
	})
	t.Run("too small", func(t *testing.T) {
		assert.ErrorContains(t, image.WriteEmptyDisk(t.Context(), filepath.Join(t.TempDir(), "d"), 0), "mkfs.ext4: ")
	})
}
