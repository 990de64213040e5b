package compile

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/build"
	"virtlab/harness/result"
)

// newest is the newest result of a recipe in the cache, where make setup has built
// one.
func newest(t testing.TB, recipe string) (dir string) {
	t.Helper()
	cache, err := build.DefaultDir()
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(cache, recipe+"-????????????"))
	require.NoError(t, err)
	var last time.Time
	for _, d := range found {
		if st, err := os.Stat(d); err == nil && st.ModTime().After(last) {
			dir, last = d, st.ModTime()
		}
	}
	if dir == "" {
		t.Skipf("not graded: there is no %s in the cache: run make setup", recipe)
	}
	return dir
}

// The recorded commands make what Kbuild makes, to the byte.
func TestModuleIsKbuilds(t *testing.T) {
	need(t)
	kernel := build.Kernel{Dir: newest(t, "kernel")}
	code, err := os.ReadFile(fixtures + "/mem/gpt-dump.c")
	require.NoError(t, err)
	root := submission(t, map[string]string{"sub dir/a-module.c": string(code), "kbuild/a-module.c": string(code), "kbuild/Kbuild": "obj-m := a-module.o\n"})
	recipe, err := build.ModuleRecipe("kbuild", root+"/kbuild", kernel)
	require.NoError(t, err)
	cache, err := build.OpenCache(t.TempDir(), io.Discard)
	require.NoError(t, err)
	dir, err := cache.Get(t.Context(), recipe)
	require.NoError(t, err)
	want, err := os.ReadFile(dir + "/a-module.ko")
	require.NoError(t, err)

	out := t.TempDir()
	p, err := Module(t.Context(), kernel, Source{Root: root, File: "sub dir/a-module.c"}, "a-module", out)
	require.NoError(t, err)
	assert.Equal(t, Product{Path: out + "/a-module.ko"}, p)
	got, err := os.ReadFile(p.Path)
	require.NoError(t, err)
	assert.Equal(t, len(want), len(got))
	assert.True(t, string(want) == string(got))
}

func TestModuleFailures(t *testing.T) {
	need(t)
	kernel := build.Kernel{Dir: newest(t, "kernel")}
	const head, tail = "#include <linux/module.h>\n", "MODULE_LICENSE(\"GPL\");\n"
	for name, c := range map[string]struct{ code, says string }{
		"an error":          {head + "int x = y;\n" + tail, "m.c:2:9: error: 'y' undeclared here"},
		"an unknown symbol": {head + "void no_such_function(void);\nstatic int __init i(void) { no_such_function(); return 0; }\nmodule_init(i);\n" + tail, "\"no_such_function\" ["},
		"no licence":        {head, "missing MODULE_LICENSE()"},
		"a secret":          {head + "#include \"/etc/shadow\"\n" + tail, "/etc/shadow: No such file"},
		"not for a kernel":  {"#include <stdio.h>\n", "m.c:1:10: fatal error: stdio.h: No such file"},
	} {
		_, err := Module(t.Context(), kernel, Source{Root: submission(t, map[string]string{"m.c": c.code}), File: "m.c"}, "m", t.TempDir())
		assert.ErrorContains(t, err, c.says, name)
		assert.Equal(t, result.Submission, result.OwnerOf(err), name)
	}
	p, err := Module(t.Context(), kernel, Source{Root: submission(t, map[string]string{"m.c": head + "static int unused;\n" + tail}), File: "m.c"}, "m", t.TempDir())
	require.NoError(t, err)
	assert.Contains(t, p.Warnings, "m.c:2:12: warning: 'unused' defined but not used")
	_, err = Module(t.Context(), kernel, Source{Root: ".", File: "m.c"}, "../m", t.TempDir())
	assert.ErrorContains(t, err, "no name for a kernel module")
}

func TestDevice(t *testing.T) {
	need(t)
	qemu := newest(t, "qemu")
	stock, err := build.StockEdu(qemu)
	require.NoError(t, err)
	edu, err := build.InsertFunction(stock, fixtures+"/qemu")
	require.NoError(t, err)
	device := func(code string) (Product, error) {
		root := submission(t, map[string]string{"edu_modified.c": code})
		return Device(t.Context(), qemu, Source{Root: root, File: "edu_modified.c"}, t.TempDir())
	}
	p, err := device(string(edu))
	require.NoError(t, err)
	assert.Empty(t, p.Warnings)
	version, err := exec.Command(p.Path, "--version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(version), "QEMU emulator")

	_, err = device(string(stock[:len(stock)-20]))
	assert.ErrorContains(t, err, "edu_modified.c does not compile:\nedu_modified.c:")
	_, err = device(string(edu) + "int no_such_function(void);\nint (*volatile keep)(void) = no_such_function;\n")
	assert.ErrorContains(t, err, "undefined reference to `no_such_function'")
	assert.Equal(t, result.Submission, result.OwnerOf(err))
	_, err = Device(t.Context(), t.TempDir(), Source{Root: "."}, t.TempDir())
	assert.Error(t, err)
}

func BenchmarkProgram(b *testing.B) {
	for b.Loop() {
		_, err := Program(b.Context(), Source{Root: fixtures + "/cpu", File: "modified-qemu.c"}, b.TempDir())
		require.NoError(b, err)
	}
}

func BenchmarkModule(b *testing.B) {
	kernel := build.Kernel{Dir: newest(b, "kernel")}
	for b.Loop() {
		_, err := Module(b.Context(), kernel, Source{Root: fixtures + "/io", File: "pci.c"}, "pci", b.TempDir())
		require.NoError(b, err)
	}
}

func BenchmarkDevice(b *testing.B) {
	qemu := newest(b, "qemu")
	stock, err := build.StockEdu(qemu)
	require.NoError(b, err)
	root := b.TempDir()
	require.NoError(b, os.WriteFile(root+"/edu.c", stock, 0o644))
	for b.Loop() {
		_, err := Device(b.Context(), qemu, Source{Root: root, File: "edu.c"}, b.TempDir())
		require.NoError(b, err)
	}
}
