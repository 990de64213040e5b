package machine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTempDirs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	a, err := Host.TempDir(t.Context())
	require.NoError(t, err)
	b, err := Host.TempDir(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
	require.NoError(t, Host.RemoveAll(t.Context(), a))
	assert.NoDirExists(t, a)
	assert.DirExists(t, b)
	require.NoError(t, Host.RemoveAll(t.Context(), b))
	assert.NoDirExists(t, filepath.Dir(b), "with the last one goes what held them")
	again, err := Host.TempDir(t.Context())
	require.NoError(t, err)
	assert.DirExists(t, again)
	require.NoError(t, Host.RemoveAll(t.Context(), again))
}

// A process that is killed leaves no temporary directory.
func TestTempDirAfterSIGKILL(t *testing.T) {
	if os.Getenv("VIRTLAB_TEST_VICTIM") != "" {
		dir, err := Host.TempDir(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.img"), nil, 0o600))
		fmt.Println(dir)
		select {}
	}
	tmp := t.TempDir()
	c := exec.Command(os.Args[0], "-test.run", "^TestTempDirAfterSIGKILL$")
	c.Env = append(os.Environ(), "VIRTLAB_TEST_VICTIM=1", "TMPDIR="+tmp)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line := bufio.NewScanner(out)
	require.True(t, line.Scan())
	assert.FileExists(t, filepath.Join(line.Text(), "disk.img"))
	require.NoError(t, c.Process.Kill())
	assert.Error(t, c.Wait())
	assert.Eventually(t, func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	}, 20*time.Second, 10*time.Millisecond)
}
