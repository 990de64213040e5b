package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

const (
	kernelFixtures = "../../fixtures/kernel"
	labConfig      = kernelFixtures + "/lab.config"
)

func TestKernelRecipeKey(t *testing.T) {
	fixtures := t.TempDir()
	config, lapic := filepath.Join(fixtures, "lab.config"), filepath.Join(fixtures, lapicKHz)
	require.NoError(t, os.WriteFile(config, []byte("CONFIG_64BIT=y\n"), 0o644))
	require.NoError(t, os.WriteFile(lapic, []byte("/* ours */\n"), 0o644))
	src := KernelSource{Path: "linux-source-6.1.tar.xz", Version: "6.1.192-2"}
	key := func() string {
		r, err := KernelRecipe(src, fixtures)
		require.NoError(t, err)
		return r.Key()
	}
	first := key()
	assert.Equal(t, first, key(), "the same inputs")
	src.Version = "6.1.193-1"
	updated := key()
	assert.NotEqual(t, first, updated, "a new package version")
	require.NoError(t, os.WriteFile(config, []byte("# why\nCONFIG_64BIT=y\n"), 0o644))
	assert.Equal(t, updated, key(), "a remark")
	require.NoError(t, os.WriteFile(config, []byte("CONFIG_64BIT=y\n# CONFIG_SMP is not set\n"), 0o644))
	configured := key()
	assert.NotEqual(t, updated, configured, "another configuration")
	require.NoError(t, os.WriteFile(lapic, []byte("/* ours, mended */\n"), 0o644))
	assert.NotEqual(t, configured, key(), "another source file of ours")
}

func TestKernelRecipeNoConfig(t *testing.T) {
	_, err := KernelRecipe(KernelSource{}, filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func TestKernelRecipeNoCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := KernelRecipe(KernelSource{}, kernelFixtures)
	require.ErrorContains(t, err, "no C compiler")
	assert.ErrorContains(t, err, "make setup")
}

func TestLostOptions(t *testing.T) {
	asked := "# a comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D=\"text\"\n"
	got := "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n"
	assert.Equal(t, []string{"CONFIG_C=m", `CONFIG_D="text"`}, lostOptions([]byte(asked), []byte(got)))
	assert.Empty(t, lostOptions([]byte(asked), []byte(asked)))
	excuse := "# Not in all kernels: CONFIG_C CONFIG_X\n"
	assert.Equal(t, []string{`CONFIG_D="text"`}, lostOptions([]byte(excuse+asked), []byte(got)))
}

// Kconfig takes the last of two contradicting lines without a word.
func TestLabConfigNamesEachOptionOnce(t *testing.T) {
	b, err := os.ReadFile(labConfig)
	require.NoError(t, err)
	seen := map[string]int{}
	for i, line := range strings.Split(string(b), "\n") {
		option, value, set := strings.Cut(line, "=")
		if name, ok := strings.CutSuffix(line, " is not set"); ok {
			option, set = strings.TrimPrefix(name, "# "), true
		}
		if !set || !strings.HasPrefix(option, "CONFIG_") {
			assert.True(t, line == "" || strings.HasPrefix(line, "#"), "line %d: %q", i+1, line)
			continue
		}
		assert.NotContains(t, value, " ", "line %d: Kconfig has no trailing comments", i+1)
		assert.Zero(t, seen[option], "line %d names %s again, first in line %d", i+1, option, seen[option])
		seen[option] = i + 1
	}
	assert.Greater(t, len(seen), 100)
}

func TestPruneKeepsWhatModulesNeed(t *testing.T) {
	dir := t.TempDir()
	kept := []string{"Makefile", ".config", "Module.symvers", "arch/x86/Makefile", "arch/x86/Makefile.um",
		"arch/x86/include/generated/asm/unistd.h", "arch/x86/kvm/x86.c", "include/linux/kvm_host.h",
		"include/generated/autoconf.h", "scripts/mod/modpost", "scripts/module.lds", "tools/objtool/objtool",
		"virt/kvm/kvm_main.c"}
	gone := []string{"vmlinux", "vmlinux.o", "mm/slub.c", "mm/slub.o", "arch/x86/kernel/setup.c",
		"scripts/mod/modpost.o", "virt/lib/built-in.a", "tools/objtool/check.c"}
	files := map[string]string{}
	for _, f := range append(append([]string{}, kept...), gone...) {
		files[f] = f
	}
	writeFiles(t, dir, files)
	require.NoError(t, prune(dir, keptKernelFile))
	for _, f := range kept {
		assert.FileExists(t, filepath.Join(dir, f))
	}
	for _, f := range gone {
		assert.NoFileExists(t, filepath.Join(dir, f))
	}
	assert.NoDirExists(t, filepath.Join(dir, "mm"), "empty directories go too")
}

func TestCompiledFiles(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(log, []byte("+ make\n  HOSTCC  a\n  CC      mm/slub.o\n  CC [M]  kvm.o\n  AS      head.o\n  AR      built-in.a\n"), 0o644))
	assert.Equal(t, 3, compiledFiles(log))
	assert.Zero(t, compiledFiles(log+"none"))
}

func TestKernelPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range KernelPackages() {
		assert.False(t, seen[p.Name], "%s is there twice", p.Name)
		seen[p.Name] = true
		for field, v := range map[string]string{"Name": p.Name, "Why": p.Why, "Probe": p.Probe} {
			assert.NotEmpty(t, v, "%s of %s", field, p.Name)
		}
		assert.NotContains(t, p.Why, "\n")
		if strings.Contains(p.Probe, "/") {
			assert.True(t, filepath.IsAbs(p.Probe), "%s: a probe is a command or an absolute path", p.Name)
		}
	}
}

func TestPackageInstalled(t *testing.T) {
	dir := t.TempDir()
	probe := Package{Probe: filepath.Join(dir, "linux-source-*.tar.xz")}
	assert.False(t, probe.Installed())
	writeFiles(t, dir, map[string]string{"linux-source-6.1.tar.xz": ""})
	assert.True(t, probe.Installed())
	assert.True(t, Package{Probe: "sh"}.Installed())
	assert.False(t, Package{Probe: "no-such-command"}.Installed())
}

func TestPatchKernel(t *testing.T) {
	tree := t.TempDir()
	const makefile = "arch/x86/kernel/apic/Makefile"
	writeFiles(t, tree, map[string]string{makefile: "obj-$(CONFIG_X86_LOCAL_APIC)\t+= apic.o ipi.o vector.o\nobj-y\t\t\t\t+= hw_nmi.o\n\nobj-$(CONFIG_X86_IO_APIC)\t+= io_apic.o\n"})
	require.NoError(t, patchKernel(tree, []byte("/* ours */\n")))
	assert.Contains(t, read(t, tree, makefile), "\n\nobj-$(CONFIG_X86_LOCAL_APIC) += lapic_khz.o\nobj-$(CONFIG_X86_IO_APIC)\t+= io_apic.o\n")
	assert.Equal(t, "/* ours */\n", read(t, tree, "arch/x86/kernel/apic/lapic_khz.c"))
	assert.ErrorContains(t, patchKernel(t.TempDir(), nil), "adding lapic_khz= to ")
}
