package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/image"
)

// ldd gives the files that the dynamic loader itself would load for program.
func ldd(t *testing.T, program string) (paths []string) {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		for _, w := range strings.Fields(line) {
			if strings.HasPrefix(w, "/") {
				paths = append(paths, w)
			}
		}
	}
	return paths
}

func TestProgramBringsItsLibraries(t *testing.T) {
	var tree image.Tree
	require.NoError(t, tree.Program("/bin/list", "/bin/ls"))
	have := names(readBack(t, initramfs(t, &tree)))
	assert.Contains(t, have, "/bin/list")
	assert.Contains(t, have, "/ld-linux-")
	assert.Contains(t, have, "/libc.so.6")
	for _, p := range ldd(t, "/bin/ls") {
		assert.Contains(t, have, "/"+filepath.Base(p), "ldd names it")
	}
}

// The proof of the closure: the program runs where nothing else is.
func TestProgramRunsInChroot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	var tree image.Tree
	require.NoError(t, tree.Program("/bin/list", "/bin/ls"))
	dir := t.TempDir()
	require.NoError(t, tree.Extract(dir))
	require.NoError(t, os.Chmod(dir, 0o755))
	c := exec.Command("/bin/list", "/bin")
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "list\n", string(out))
}

func TestStaticProgramComesAlone(t *testing.T) {
	var tree image.Tree
	require.NoError(t, tree.Program("/x", compile(t, "static", "-static")))
	assert.Equal(t, "/x", names(readBack(t, initramfs(t, &tree))))
}

// compile builds a C program that does nothing.
func compile(t *testing.T, name string, args ...string) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc on this machine")
	}
	dir := t.TempDir()
	src := filepath.Join(dir, name+".c")
	require.NoError(t, os.WriteFile(src, []byte("int virtlab_answer(void) { return 42; }\nint main(void) { return 0; }\n"), 0o644))
	out := filepath.Join(dir, name)
	b, err := exec.Command(cc, append([]string{"-o", out, src}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", b)
	return out
}

// withOwnLibrary builds a program that needs libvirtlabtest.so next to it.
func withOwnLibrary(t *testing.T) (program, lib string) {
	t.Helper()
	lib = compile(t, "libvirtlabtest.so", "-shared", "-fPIC")
	dir := filepath.Dir(lib)
	return compile(t, "prog", "-Wl,--no-as-needed", "-L"+dir, "-l:libvirtlabtest.so", "-Wl,-rpath,"+dir), lib
}

func TestRunpath(t *testing.T) {
	program, lib := withOwnLibrary(t)
	var tree image.Tree
	require.NoError(t, tree.Program("/bin/prog", program))
	assert.Contains(t, names(readBack(t, initramfs(t, &tree))), lib)
}

func TestMissingLibrary(t *testing.T) {
	program, lib := withOwnLibrary(t)
	require.NoError(t, os.Remove(lib))
	var tree image.Tree
	err := tree.Program("/bin/prog", program)
	require.ErrorContains(t, err, program+": library libvirtlabtest.so is in none of "+filepath.Dir(lib)+", ")
}

func TestProgramThatIsNone(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	var tree image.Tree
	assert.ErrorContains(t, tree.Program("/x", script), script+": ")
}

func TestTwoProgramsShareLibraries(t *testing.T) {
	var tree image.Tree
	require.NoError(t, tree.Program("/bin/ls", "/bin/ls"))
	require.NoError(t, tree.Program("/bin/cat", "/bin/cat"))
}
