package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

func need(t *testing.T) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("not graded: %v", err)
	}
}

func TestRunSeesNothingOfTheHost(t *testing.T) {
	need(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o600))
	t.Setenv("VIRTLAB_SECRET", "s3cret")
	for name, script := range map[string]string{
		"a file outside":   "cat " + secret,
		"the shadow file":  "cat /etc/shadow",
		"a home":           "ls /root /home",
		"the environment":  "env | grep s3cret",
		"the KVM device":   "cat /dev/kvm",
		"a write to /usr":  "touch /usr/x",
		"a network":        "cat /proc/net/dev | grep -v lo: | grep :",
		"other processes":  "ls /proc | grep -x -c '[0-9]*' | grep -v '^[1-6]$'",
		"a device to make": "mknod null c 1 3",
	} {
		out, err := Run(t.Context(), Spec{Dir: t.TempDir(), Args: []string{"sh", "-c", script}})
		var exit *machine.ExitError
		assert.ErrorAs(t, err, &exit, "%s: %s", name, out)
		assert.NotContains(t, out, "s3cret", name)
	}
}

func TestRunWritesItsDirectory(t *testing.T) {
	need(t)
	dir := t.TempDir()
	out, err := Run(t.Context(), Spec{Dir: dir, Args: []string{"sh", "-c", "pwd; echo done > result"}})
	require.NoError(t, err)
	assert.Equal(t, "/work\n", out)
	assert.FileExists(t, filepath.Join(dir, "result"))
}

func TestRunKeepsLimits(t *testing.T) {
	need(t)
	for name, c := range map[string]struct {
		spec Spec
		says string
	}{
		"time":   {Spec{Time: time.Second, Args: []string{"sleep", "60"}}, "not done after 1s"},
		"memory": {Spec{MemoryMiB: 64, Args: []string{"sh", "-c", "head -c 200M /dev/zero | tail -c 150M | wc -c | grep 157286400"}}, "exit status"},
		"file":   {Spec{FileMiB: 1, Args: []string{"sh", "-c", "head -c 2M /dev/zero > big"}}, "exit status"},
	} {
		c.spec.Dir = t.TempDir()
		start := time.Now()
		_, err := Run(t.Context(), c.spec)
		assert.ErrorContains(t, err, c.says, name)
		assert.Less(t, time.Since(start), 30*time.Second, name)
	}
	assert.NoFileExists(t, filepath.Join(t.TempDir(), "big"))
}

func TestRunCutsOutput(t *testing.T) {
	need(t)
	out, err := Run(t.Context(), Spec{Dir: t.TempDir(), Args: []string{"head", "-c", "50M", "/dev/zero"}})
	require.NoError(t, err)
	assert.Len(t, out, maxOutput)
}

func TestCompileC(t *testing.T) {
	need(t)
	compile := func(code string) (dir, warnings string, err error) {
		dir = t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.c"), []byte(code), 0o644))
		warnings, err = CompileC(t.Context(), dir, "a.c", "a")
		return dir, warnings, err
	}
	dir, warnings, err := compile("int main(void) { int unused; return 0; }")
	require.NoError(t, err)
	assert.Contains(t, warnings, "unused")
	assert.FileExists(t, filepath.Join(dir, "a"))

	_, _, err = compile("int main(void) { return x; }")
	var owned *result.Error
	require.True(t, errors.As(err, &owned))
	assert.Equal(t, result.Submission, owned.Owner)
	assert.ErrorContains(t, err, "a.c:1:25: error:")

	_, _, err = compile("#include \"/etc/shadow\"\nint main(void) { return 0; }")
	assert.ErrorContains(t, err, "No such file")
	assert.False(t, strings.Contains(err.Error(), "root:"))
}

func TestAvailableSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	assert.ErrorContains(t, Available(), "install the package bubblewrap")
}
