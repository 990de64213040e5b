package vmm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// program makes an executable file of that name and gives its directory.
func program(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755))
	return dir
}

func TestFind(t *testing.T) {
	inPath, set, asked := program(t, "stratovirt"), program(t, "sv")+"/sv", program(t, "mine")+"/mine"
	t.Setenv("STRATOVIRT", "")
	t.Setenv("PATH", inPath)
	found := func(asked string) string {
		path, err := vmm.Find("stratovirt", asked)
		require.NoError(t, err)
		return path
	}
	assert.Equal(t, inPath+"/stratovirt", found(""))
	t.Setenv("STRATOVIRT", set)
	assert.Equal(t, set, found(""))
	assert.Equal(t, asked, found(asked))
	t.Chdir(filepath.Dir(asked))
	assert.Equal(t, asked, found("./mine"), "it is run from other directories, too")
}

// What was asked for and is not there is not replaced by something else.
func TestFindFaults(t *testing.T) {
	dir := program(t, "stratovirt")
	require.NoError(t, os.WriteFile(dir+"/text", nil, 0o644))
	for _, c := range []struct {
		name, vmm, asked, set, path string
		want                        []string
	}{
		{"nowhere", "stratovirt", "", "", t.TempDir(), []string{
			"stratovirt is not measured: looked in PATH (neither -stratovirt nor $STRATOVIRT is set)",
			`what to do: its own documentation, "Build StratoVirt from source", tells how`, "cargo build --release"}},
		{"asked", "stratovirt", "/nonexistent", dir + "/stratovirt", dir, []string{"looked in -stratovirt /nonexistent: ", "no such file"}},
		{"set", "stratovirt", "", "/nonexistent", dir, []string{"looked in $STRATOVIRT: ", "no such file"}},
		{"no program", "stratovirt", dir + "/text", "", dir, []string{"permission denied"}},
		{"firecracker", "firecracker", "", "", dir, []string{"firecracker is not measured", "$FIRECRACKER", "Getting Started with Firecracker"}},
		{"unknown", "bhyve", "", "", dir, []string{`no VMM of the name "bhyve" is looked for`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("STRATOVIRT", c.set)
			t.Setenv("FIRECRACKER", c.set)
			t.Setenv("PATH", c.path)
			_, err := vmm.Find(c.vmm, c.asked)
			require.Error(t, err)
			assert.Equal(t, result.Host, result.OwnerOf(err))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestFindKeepsTheCause(t *testing.T) {
	_, err := vmm.Find("firecracker", "/nonexistent")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
