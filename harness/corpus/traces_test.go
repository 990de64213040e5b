package corpus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program that was left behind by a program that was left behind is found, and
// so is a file.
func TestLookFindsWhatStays(t *testing.T) {
	require.NoError(t, Adopt())
	dir := t.TempDir()
	before, err := Look(dir)
	require.NoError(t, err)

	out, err := exec.Command("sh", "-c", `(setsid sleep 600 >/dev/null 2>&1 & echo $!) | cat; touch "$0"`, filepath.Join(dir, "left")).Output()
	require.NoError(t, err)
	t.Cleanup(func() {
		sleeper, err := os.FindProcess(atoi(t, strings.TrimSpace(string(out))))
		require.NoError(t, err)
		require.NoError(t, sleeper.Signal(syscall.SIGKILL))
	})
	assert.Eventually(t, func() bool {
		after, err := Look(dir)
		require.NoError(t, err)
		added := strings.Join(after.Since(before), "\n")
		return strings.Contains(added, "(sleep)") && strings.Contains(added, "file "+dir+"/left")
	}, 10*time.Second, 10*time.Millisecond)
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}
