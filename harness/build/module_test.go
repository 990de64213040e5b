package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeKernel is a tree whose Makefile compiles as a kernel's would, in
// principle: what M names, into a .ko.
func fakeKernel(t *testing.T, modulesRule string) Kernel {
	t.Helper()
	for _, tool := range []string{"make", "gcc", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	k := Kernel{filepath.Join(t.TempDir(), "kernel-1")}
	writeFiles(t, k.Tree(), map[string]string{"Makefile": "modules:\n\t" + modulesRule + "\n"})
	return k
}

func openTestCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(t.TempDir(), &bytes.Buffer{})
	require.NoError(t, err)
	return c
}

func TestModuleRecipe(t *testing.T) {
	kernel := fakeKernel(t, "@gcc -c $(M)/hello.c -o $(M)/hello.ko")
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"hello.c": "int hello;\n", "Kbuild": "obj-m := hello.o\n"})
	r, err := ModuleRecipe("hello", src, kernel)
	require.NoError(t, err)
	dir, err := openTestCache(t).Get(t.Context(), r)
	require.NoError(t, err)

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "the module and nothing else")
	assert.Equal(t, "hello.ko", files[0].Name())
	assert.NoFileExists(t, filepath.Join(src, "hello.ko"), "the source directory stays as it was")
}

func TestModuleRecipeFailures(t *testing.T) {
	tests := map[string]struct{ rule, want string }{
		"does not compile": {"@gcc -c $(M)/hello.c -o $(M)/hello.ko", "hello.c"},
		"makes no module":  {"@true", "made no .ko file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			kernel := fakeKernel(t, tt.rule)
			src := t.TempDir()
			writeFiles(t, src, map[string]string{"hello.c": "this is not C\n"})
			r, err := ModuleRecipe("hello", src, kernel)
			require.NoError(t, err)
			_, err = openTestCache(t).Get(t.Context(), r)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestModuleRecipeKey(t *testing.T) {
	src := t.TempDir()
	key := func(kernel string) string {
		r, err := ModuleRecipe("hello", src, Kernel{kernel})
		require.NoError(t, err)
		return r.Key()
	}
	writeFiles(t, src, map[string]string{"hello.c": "1"})
	first := key("/cache/kernel-1")
	assert.Equal(t, first, key("/cache/kernel-1"))
	assert.NotEqual(t, first, key("/cache/kernel-2"))
	writeFiles(t, src, map[string]string{"hello.c": "2"})
	assert.NotEqual(t, first, key("/cache/kernel-1"))
}
