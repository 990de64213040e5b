package compile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/sandbox"
)

const fixtures = "../../fixtures"

func need(t *testing.T) {
	t.Helper()
	if err := sandbox.Available(); err != nil {
		t.Skipf("not graded: %v", err)
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("not graded: %v", err)
	}
}

// submission writes files to a new directory.
func submission(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		to := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, []byte(text), 0o644))
	}
	return dir
}

// program compiles one of files.
func program(t *testing.T, name string, files map[string]string) (Product, error) {
	t.Helper()
	need(t)
	return Program(t.Context(), Source{Root: submission(t, files), File: name}, t.TempDir())
}

const hello = "#include <stdio.h>\nint main(void) { return puts(WORD) < 0; }\n"

func TestProgram(t *testing.T) {
	p, err := program(t, "a/main.c", map[string]string{
		"a/main.c": "#include \"word.h\"\n" + hello, "a/word.h": "#define WORD \"from a header\"\n",
	})
	require.NoError(t, err)
	assert.Empty(t, p.Warnings)
	assert.Equal(t, "main", filepath.Base(p.Path))
	out, err := exec.Command(p.Path).Output()
	require.NoError(t, err)
	assert.Equal(t, "from a header\n", string(out))
	rest, err := os.ReadDir(filepath.Dir(p.Path))
	require.NoError(t, err)
	assert.Len(t, rest, 1)
}

// Headers are found where the course has them, and where they end up when
// everything is handed in in one directory.
func TestProgramFindsHeaders(t *testing.T) {
	const word = "#define WORD \"found\"\n"
	for name, files := range map[string]map[string]string{
		"above":             {"test/t.c": "#include \"../edu_ioctl.h\"\n" + hello, "edu_ioctl.h": word},
		"said above, is at": {"t.c": "#include \"../edu_ioctl.h\"\n" + hello, "edu_ioctl.h": word},
		"said at, is above": {"test/t.c": "#include \"edu_ioctl.h\"\n" + hello, "edu_ioctl.h": word},
		"elsewhere":         {"lab 3/t.c": "#include \"edu_ioctl.h\"\n" + hello, "driver/edu_ioctl.h": word},
	} {
		t.Run(name, func(t *testing.T) {
			for file := range files {
				if strings.HasSuffix(file, ".c") {
					_, err := program(t, file, files)
					assert.NoError(t, err)
				}
			}
		})
	}
}

func TestProgramQuotesTheStudentsFile(t *testing.T) {
	const broken = "int main(void) {\n  return x;\n}\n"
	for _, name := range []string{"main.c", "作业/主程序.c", "-o.c", "a b'c\"$(touch x).c", "two\nlines.c"} {
		_, err := program(t, name, map[string]string{name: broken})
		assert.ErrorContains(t, err, name+" does not compile:\n")
		assert.ErrorContains(t, err, ":2:10: error: 'x' undeclared")
		assert.NotContains(t, err.Error(), os.TempDir())
		assert.Equal(t, result.Submission, result.OwnerOf(err))
	}
	p, err := program(t, "w.c", map[string]string{"w.c": "int main(void) { int unused; return 0; }"})
	require.NoError(t, err)
	assert.Contains(t, p.Warnings, "w.c:1:22: warning: unused variable 'unused'")
}

func TestProgramStagesNothingElse(t *testing.T) {
	need(t)
	secret := filepath.Join(t.TempDir(), "secret.h")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o644))
	dir := submission(t, map[string]string{
		"main.c": "#include \"linked.h\"\n", "other.c": "#include \"main.inc\"\n", "main.inc": "int main(void) { return 0; }",
	})
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "linked.h")))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link.c")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.c"), 0o755))
	for file, says := range map[string]string{
		"main.c":          "linked.h: No such file",
		"other.c":         "main.inc: No such file",
		"link.c":          "not a regular file",
		"dir.c":           "not a regular file",
		"missing.c":       "there is no missing.c",
		"../x.c":          "path escapes",
		"main.c/deeper.c": "not a directory",
	} {
		_, err := Program(t.Context(), Source{Root: dir, File: file}, t.TempDir())
		assert.ErrorContains(t, err, says, file)
		assert.Equal(t, result.Submission, result.OwnerOf(err), file)
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

func TestProgramRefusesTooMuch(t *testing.T) {
	files := map[string]string{"main.c": hello}
	for range maxHeaders + 1 {
		files["h/"+strings.Repeat("x", len(files))+".h"] = ""
	}
	_, err := program(t, "main.c", files)
	assert.ErrorContains(t, err, "more than 200 headers")
	_, err = program(t, "main.c", map[string]string{"main.c": hello, "a.h": strings.Repeat("\n", maxSource)})
	assert.ErrorContains(t, err, "larger than 8 MiB")
}

func TestLimitIn(t *testing.T) {
	for said, want := range map[string]sandbox.Limit{
		"": "",
		"gcc: internal compiler error: File size limit exceeded signal terminated program as\n":                        sandbox.FileSize,
		"a.c:1:1: warning: x\n\ncc1: out of memory allocating 2147483664 bytes after a total of 602112 bytes":          sandbox.Memory,
		"virtual memory exhausted: Cannot allocate memory\n":                                                           sandbox.Memory,
		"gcc: internal compiler error: CPU time limit exceeded signal terminated program cc1":                          sandbox.CPU,
		"/tmp/ccVvfgQH.s: Fatal error: can't write 63 bytes to section .data of /tmp/ccU.o: 'No space left on device'": sandbox.Space,
		// A student's own words.
		"a.c:3:9: error: 'x' undeclared\n    3 |         die(x, \"Cannot allocate memory\");\n      |         ^": "",
		"a.c:1:2: error: #error memory exhausted": "",
	} {
		assert.Equal(t, want, limitIn(said), said)
	}
}

// Whatever a line about a source says, it is no limit.
func FuzzLimitIn(f *testing.F) {
	f.Add("error: memory exhausted")
	f.Fuzz(func(t *testing.T, words string) {
		assert.Empty(t, limitIn("a.c:1: "+strings.ReplaceAll(words, "\n", " ")))
	})
}

func TestLimitedKeepsBothEnds(t *testing.T) {
	w := &limited{}
	for range 1000 {
		_, _ = w.Write([]byte(strings.Repeat("x", 999) + "\n"))
	}
	_, _ = w.Write([]byte("the end"))
	assert.LessOrEqual(t, len(w.String()), maxHead+3*maxTail)
	assert.True(t, strings.HasSuffix(w.String(), "x\nthe end"))
	short := &limited{}
	_, _ = short.Write([]byte("all of it"))
	assert.Equal(t, "all of it", short.String())
}

func TestProgramWithoutWalls(t *testing.T) {
	sandbox.Unsandboxed = true
	defer func() { sandbox.Unsandboxed = false }()
	t.Setenv("TMPDIR", t.TempDir())
	p, err := program(t, "a b/main.c", map[string]string{"a b/main.c": "#define WORD \"bare\"\n" + hello})
	require.NoError(t, err)
	out, err := exec.Command(p.Path).Output()
	require.NoError(t, err)
	assert.Equal(t, "bare\n", string(out))
	_, err = program(t, "main.c", map[string]string{"main.c": "int main(void) { return x; }"})
	assert.ErrorContains(t, err, "main.c does not compile:\nmain.c:1:25: error: 'x' undeclared")
	rest, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, rest)
}

func TestProgramName(t *testing.T) {
	for file, want := range map[string]string{
		"modified-qemu.c": "modified-qemu", "a/b/test.v2.c": "test.v2", "a b.c": "a_b", "主.c": "_",
		"-rf.c": "rf", "..c": "program", "x\ny.c": "x_y", ".c": "program",
	} {
		assert.Equal(t, want, programName(file), file)
	}
}

// Compiler bombs: each file of fixtures/mutants/hostile/compile names in its first
// line what must be said of it.
func TestBombs(t *testing.T) {
	need(t)
	files, err := filepath.Glob(fixtures + "/mutants/hostile/compile/*.c")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	limits = sandbox.Limits{
		CPU: time.Second, Wall: time.Minute, MemoryMiB: 300, AddressMiB: 400, Processes: 24, OpenFiles: 64,
		FileMiB: 16, ScratchMiB: 32, Files: 100, OutputMiB: 8,
	}
	t.Cleanup(func() { limits = sandbox.Compiler })
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	// In a group, which ends before the directory is looked at.
	t.Run("each", func(t *testing.T) {
		for _, f := range files {
			t.Run(filepath.Base(f), func(t *testing.T) { bomb(t, f) })
		}
	})
	rest, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, rest, "files are left")
}

func bomb(t *testing.T, file string) {
	t.Parallel()
	code, err := os.ReadFile(file)
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(code), "\n")
	_, says, ok := strings.Cut(line, "; must say: ")
	require.True(t, ok, "its first line does not say what must be said of it")
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.Mkdir(out, 0o755))
	_, err = Program(t.Context(), Source{Root: filepath.Dir(file), File: filepath.Base(file)}, out)
	require.Error(t, err)
	assert.ErrorContains(t, err, says)
	assert.Equal(t, result.Submission, result.OwnerOf(err))
	assert.NotContains(t, err.Error(), "root:")
	rest, err := os.ReadDir(out)
	require.NoError(t, err)
	assert.Empty(t, rest)
}
