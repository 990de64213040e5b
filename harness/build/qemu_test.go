package build

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

const qemuFixtures = "../../fixtures/qemu"

func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

func TestInsertFunction(t *testing.T) {
	stock := testdata(t, "qemu-edu-skeleton.c")
	out, err := InsertFunction([]byte(stock), qemuFixtures)
	require.NoError(t, err)
	edu := string(out)

	assert.Equal(t, stock, testdata(t, "qemu-edu-skeleton.c"), "the input is left alone")
	inOrder(t, edu, "uint32_t irq_status;", "uint32_t gcd_a;", "struct dma_state dma;",
		"static uint32_t edu_gcd(", "static uint64_t edu_mmio_read(",
		"val = edu->irq_status;", "case 0x28:\n        val = edu->gcd_a;", "val = edu_gcd(edu->gcd_a, edu->gcd_b);",
		"case 0x80:", "static void edu_mmio_write(", "case 0x2c:\n        edu->gcd_b = val;", "case 0x80:")
	for _, ins := range eduPieces { // the pieces taken out again leave the stock
		piece, err := os.ReadFile(filepath.Join(qemuFixtures, ins.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(edu, string(piece)), ins.file)
		edu = strings.Replace(edu, string(piece), "", 1)
	}
	assert.Equal(t, stock, edu)
}

func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		i := strings.Index(text, p)
		require.GreaterOrEqual(t, i, 0, "%q is missing or out of order", p)
		text = text[i+len(p):]
	}
}

func TestInsertFunctionWantsEachAnchorOnce(t *testing.T) {
	stock := testdata(t, "qemu-edu-skeleton.c")
	for name, c := range map[string]struct{ edu, err string }{
		"twice":   {stock + stock, "gcd-state.c.inc has no place of its own in edu.c: irq_status in struct EduState: the anchor (?m)^    uint32_t irq_status;\\n is there 2 times"},
		"gone":    {strings.Replace(stock, "uint64_t edu_mmio_read(", "uint64_t edu_read(", 1), "the function edu_mmio_read: the anchor"},
		"changed": {strings.Replace(stock, "true, &val", "1, &val", 1), "case 0x80 of edu_mmio_write"},
		"empty":   {"", "is there 0 times"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := InsertFunction([]byte(c.edu), qemuFixtures)
			require.ErrorContains(t, err, c.err)
			require.ErrorContains(t, err, "give eduPieces an anchor")
		})
	}
}

func TestEduPlan(t *testing.T) {
	const tree = "/cache/tmp/qemu-123/tree"
	here := strings.NewReplacer("@TREE@", tree)
	plan, err := newEduPlan([]byte(here.Replace(testdata(t, "qemu-compile-commands.json"))), here.Replace(testdata(t, "qemu-link.txt")), tree)
	require.NoError(t, err)

	compile, link := strings.Join(plan.Compile, " "), strings.Join(plan.Link, " ")
	assert.NotContains(t, compile+link, "/cache", "the tree moves when it is complete")
	assert.Contains(t, compile, "-iquote . -iquote .. -iquote ../include")
	assert.True(t, strings.HasSuffix(compile, "-fPIE -o @OBJECT@ -c @SOURCE@"), "no dependency file is written: %s", compile)
	assert.Contains(t, link, "-o @BINARY@ libcommon.fa.p/hw_mem_pc-dimm.c.o @OBJECT@ libcommon.fa.p/hw_misc_vmcoreinfo.c.o")
	assert.Contains(t, link, "../libslirp/lib/libslirp.a /usr/lib")
}

func TestEduPlanErrors(t *testing.T) {
	commands, link := testdata(t, "qemu-compile-commands.json"), testdata(t, "qemu-link.txt")
	for name, c := range map[string]struct{ commands, link, err string }{
		"not JSON":        {"{", link, "compile_commands.json"},
		"no edu":          {"[]", link, "does not mention hw/misc/edu.c"},
		"no object":       {commands, strings.Replace(link, "hw_misc_edu", "hw_misc_ude", 1), "1 times in all"},
		"open quote":      {commands, link + " '", "link command"},
		"command differs": {strings.Replace(commands, "-c ../hw/misc/edu.c", "-c edu.c", 1), link, "the command for edu.c"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newEduPlan([]byte(c.commands), c.link, "@TREE@")
			require.ErrorContains(t, err, c.err)
		})
	}
}

func TestCompilerErrors(t *testing.T) {
	const dir = "/cache/tmp/qemu-x-1"
	said := strings.ReplaceAll(testdata(t, "qemu-gcc-undeclared.txt"), "@DIR@", dir)
	got := CompilerErrors(said, dir)
	assert.True(t, strings.HasPrefix(got, "edu.c:215:18: error: 'EduState' has no member named 'gcd_b'\n  215 |         val = edu->gcd_b;\n"), got)
	assert.Equal(t, 3, strings.Count(got, ": error: "))
	for _, noise := range []string{"note:", "In function", dir} {
		assert.NotContains(t, got, noise)
	}
}

func TestCompilerErrorsAreFew(t *testing.T) {
	var said strings.Builder
	for range 100 {
		said.WriteString("edu.c:1:2: error: again\n")
	}
	assert.Equal(t, maxErrors, strings.Count(CompilerErrors(said.String(), "/x"), "error"))
}

func TestLinkerErrors(t *testing.T) {
	assert.Equal(t, "edu.c:(.text+0x15e): undefined reference to `my_gcd'", CompilerErrors(testdata(t, "qemu-ld-undefined.txt"), "@DIR@"))
	assert.Equal(t, "cc: internal trouble", CompilerErrors("cc: internal trouble\n", "/x"))
	assert.True(t, strings.HasSuffix(CompilerErrors(strings.Repeat("x\n", 100), "/x"), "\n..."))
}

// fakeQEMU is the result of a QEMU build in which edu.c alone is the program:
// what EduVariantRecipe does with it, it does with a real one.
func fakeQEMU(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "qemu-0")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, qemuTree, "build"), 0o755))
	require.NoError(t, os.MkdirAll(QEMUFirmware(dir), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, qemuEduPlan),
		[]byte(`{"Compile": ["cc", "-O1", "-o", "@OBJECT@", "-c", "@SOURCE@"], "Link": ["cc", "-o", "@BINARY@", "@OBJECT@"]}`), 0o644))
	return dir
}

func variant(t *testing.T, base, eduC string) (string, error) {
	t.Helper()
	cache, err := OpenCache(t.TempDir(), io.Discard)
	require.NoError(t, err)
	return cache.Get(context.Background(), EduVariantRecipe(base, "test", []byte(eduC)))
}

func TestEduVariant(t *testing.T) {
	base := fakeQEMU(t)
	dir, err := variant(t, base, "int main(void) { return 0; }\n")
	require.NoError(t, err)
	binary, err := os.ReadFile(QEMUBinary(dir))
	require.NoError(t, err)
	assert.False(t, bytes.Contains(binary, []byte(filepath.Dir(dir))), "no path of the cache is in the binary")
	firmware, err := filepath.EvalSymlinks(QEMUFirmware(dir))
	require.NoError(t, err)
	assert.Equal(t, QEMUFirmware(base), firmware)
	assert.NoFileExists(t, filepath.Join(dir, "edu.o"))
	left, err := os.ReadDir(filepath.Join(base, qemuTree, "build"))
	require.NoError(t, err)
	assert.Empty(t, left, "the shared tree stays as it was")
}

func TestEduVariantFailuresAreTheSubmissions(t *testing.T) {
	for name, c := range map[string]struct{ edu, err string }{
		"syntax":     {"int main(void) {\n    retrun 0;\n}\n", "edu.c does not compile:\nedu.c:2:5: error: "},
		"undeclared": {"int main(void) {\n    return gcd(1);\n}\n", "edu.c:2:12: error: implicit declaration of function 'gcd'"},
		"undefined":  {"int gcd(int);\nint main(void) { return gcd(1); }\n", "edu.c does not link:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := variant(t, fakeQEMU(t), c.edu)
			require.ErrorContains(t, err, c.err)
			assert.Equal(t, result.Submission, result.OwnerOf(err))
		})
	}
}

func TestEduVariantOfNoQEMU(t *testing.T) {
	_, err := variant(t, t.TempDir(), "")
	require.ErrorContains(t, err, "is not a QEMU that variants can be built from")
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func TestEduVariantKey(t *testing.T) {
	key := func(base, edu string) string { return EduVariantRecipe(base, "x", []byte(edu)).Key() }
	assert.Equal(t, key("/a/qemu-1", "e"), key("/b/qemu-1", "e"), "where the cache lies does not matter")
	assert.NotEqual(t, key("/a/qemu-1", "e"), key("/a/qemu-2", "e"))
	assert.NotEqual(t, key("/a/qemu-1", "e"), key("/a/qemu-1", "f"))
}

func TestKeptQEMUFiles(t *testing.T) {
	for name, want := range map[string]bool{
		"include/hw/pci/pci.h":                 true,
		"build/config-host.h":                  true,
		"build/libcommon.fa.p/hw_pci_msi.c.o":  true,
		"build/libhwcore.fa":                   true,
		"build/block.syms":                     true,
		"libslirp/lib/libslirp.a":              true,
		"target/i386/cpu.h":                    true,
		"tcg/i386/tcg-target.h":                true,
		"target/arm/cpu.h":                     false,
		"roms/seabios/src/std/acpi.h":          false,
		"hw/misc/edu.c":                        false,
		"build/qemu-system-x86_64":             false,
		"tests/qtest/libqtest.h":               false,
		"include/standard-headers/linux/pci.h": true,
	} {
		assert.Equal(t, want, keptQEMUFile(name), name)
	}
}

func TestQEMUPackages(t *testing.T) {
	names := map[string]bool{}
	for _, p := range QEMUPackages() {
		assert.False(t, names[p.Name], "%s is listed twice", p.Name)
		names[p.Name] = true
		assert.NotEmpty(t, p.Arch)
		assert.NotEmpty(t, p.Why)
		assert.NotEmpty(t, p.Probe)
	}
	for _, linked := range qemuLinked {
		assert.True(t, names[linked], "%s is a key input and has to be installed by make setup", linked)
	}
}

func TestDevicesFixture(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(qemuFixtures, "devices.mak"))
	require.NoError(t, err)
	for _, want := range []string{"I440FX", "Q35", "MICROVM", "EDU", "VIRTIO_PCI", "VIRTIO_SERIAL", "VIRTIO_BLK", "VIRTIO_RNG", "VIRTIO_NET"} {
		assert.Contains(t, string(b), "CONFIG_"+want+"=y\n")
	}
}
