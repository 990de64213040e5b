package grade

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// walkData are the real logs of package pagewalk.
const walkData = "../pagewalk/testdata/"

// gradeLogs grades the two logs of a submission, texts by their file's name; the roles are
// those of the names.
func gradeLogs(t *testing.T, files map[string]string) map[string]*result.Verdict {
	t.Helper()
	dir := t.TempDir()
	g := &grading{
		ctx: t.Context(), sub: &submission.Submission{Dir: dir}, opts: Options{Rubric: &result.Rubric{}, Dir: t.TempDir()},
		report: &result.Report{}, lab: result.Memory, verdicts: map[string]*result.Verdict{},
		answer: submission.Answer{Files: map[submission.Role][]submission.File{}},
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		for role, mark := range map[submission.Role]string{submission.GuestLog: "gpt", submission.HostLog: "ept"} {
			if strings.Contains(name, mark) {
				g.answer.Files[role] = append(g.answer.Files[role], submission.File{Path: name})
			}
		}
	}
	g.memLogs()
	return g.verdicts
}

func walkText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(walkData + name)
	require.NoError(t, err)
	return string(text)
}

var logChecks = []string{"mem.guest-log", "mem.host-log", "mem.link"}

func TestLogsThatPass(t *testing.T) {
	guest, host := walkText(t, "course-gpt-dump.txt"), walkText(t, "course-ept-dump.txt")
	utf16 := "\xff\xfe"
	for _, r := range guest {
		utf16 += string([]byte{byte(r), 0})
	}
	for name, files := range map[string]map[string]string{
		"the course's own":      {"gpt.txt": guest, "ept.txt": host},
		"both in one file":      {"gpt-ept.txt": host + "\n" + guest},
		"as PowerShell writes":  {"gpt.txt": utf16, "ept.txt": strings.ReplaceAll(host, "\n", "\r\n")},
		"one console":           {"gpt-ept.txt": walkText(t, "nested-npt-4level.console.txt")},
		"torn by each other":    {"gpt-ept.txt": walkText(t, "nested-ept-bochs.console.txt")},
		"large pages":           {"gpt.txt": walkText(t, "own/tdp4-2m.guest.txt"), "ept.txt": walkText(t, "own/tdp4-2m.host.txt")},
		"five levels":           {"gpt.txt": walkText(t, "own/tdp5-4k.guest.txt"), "ept.txt": walkText(t, "own/tdp5-4k.host.txt")},
		"EPT":                   {"gpt.txt": walkText(t, "own/ept-tdp4-4k.guest.txt"), "ept.txt": walkText(t, "own/ept-tdp4-4k.host.txt")},
		"shadow paging":         {"gpt.txt": walkText(t, "own/spt4-4k.guest.txt"), "ept.txt": walkText(t, "own/spt4-4k.host.txt")},
		"with CR3":              {"gpt.txt": walkText(t, "cr3.guest.txt"), "ept.txt": walkText(t, "cr3.host.txt")},
		"swapped names":         {"gpt.txt": host, "ept.txt": guest},
		"and an empty one more": {"gpt.txt": guest, "ept.txt": host, "ept-2.txt": ""},
	} {
		t.Run(name, func(t *testing.T) {
			verdicts := gradeLogs(t, files)
			for _, id := range logChecks {
				v := verdicts[id]
				assert.Equal(t, result.Pass, v.Outcome, "%s: %s", id, v.Message)
				assert.True(t, strings.HasPrefix(v.Message, "consistent, not witnessed: "), v.Message)
			}
		})
	}
}

func TestLogsAreDescribed(t *testing.T) {
	verdicts := gradeLogs(t, map[string]string{"gpt.txt": walkText(t, "own/tdp4-2m.guest.txt"), "ept.txt": walkText(t, "own/tdp4-2m.host.txt")})
	assert.Contains(t, verdicts["mem.guest-log"].Message, "gpt.txt, lines 1 to 17 (the best of 3 walks): GVA 0x")
	assert.Contains(t, verdicts["mem.host-log"].Message, "4 levels of NPT")
	assert.Contains(t, verdicts["mem.host-log"].Message, "page of 2048 KiB, which holds 1772334")
}

func TestLogsWithAdvice(t *testing.T) {
	for name, tc := range map[string]struct{ guest, host, id, warning string }{
		"copied":  {"course-gpt-dump.txt", "course-ept-dump.txt", "mem.host-log", "printed in the course's text"},
		"label":   {"nested-npt-4level.console.txt", "", "mem.host-log", "the entries are those of AMD's NPT"},
		"shadows": {"own/spt4-4k.guest.txt", "own/spt4-4k.host.txt", "mem.host-log", "shadow paging"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"gpt-ept.txt": walkText(t, tc.guest)}
			if tc.host != "" {
				files["ept.txt"] = walkText(t, tc.host)
			}
			v := gradeLogs(t, files)[tc.id]
			assert.Equal(t, result.Pass, v.Outcome, v.Message)
			assert.Contains(t, strings.Join(v.Warnings, "\n"), tc.warning)
		})
	}
}

func TestLogsThatFail(t *testing.T) {
	guest, host := walkText(t, "course-gpt-dump.txt"), walkText(t, "course-ept-dump.txt")
	for _, tc := range []struct {
		name        string
		guest, host string
		outcome     result.Outcome
		says        [3]string // the checks' messages; empty: a pass
	}{
		{"an index", strings.Replace(guest, "469: PMD", "468: PMD", 1), host, result.Fail,
			[3]string{"gpt.txt, lines 3 to 24: line 20: GPT PMD: index before the entry differs from the bits of the address: expected 469, got 468"}},
		{"another run", guest, walkText(t, "own/tdp4-4k.host.txt"), result.Fail,
			[3]string{2: "\nThe guest's walks end at GPA 0x3aaa3658; the host's begin at 0x300e970, 0x"}},
		{"another number", guest, strings.Replace(host, "at HPA: 1772334", "at HPA: 1772335", 1), result.Fail,
			[3]string{2: "value at HPA is not the value at GVA: expected 1772334, got 1772335"}},
		{"cut", guest, host[:strings.Index(host, "163: PTE")+20], result.Fail,
			[3]string{1: "cut: EPT PTE: no PTE entry after its NEXT_LVL line", 2: `cut: EPT: no line "Value at HPA"`}},
		{"no log", "", host, result.NotGraded, [3]string{0: "no guest log was handed in", 2: "no guest log was handed in"}},
		{"no walk", "hello\n", host, result.Fail, [3]string{0: "gpt.txt: there is no walk in it", 2: "gpt.txt: there is no walk in it"}},
		{"no GPA", strings.Replace(guest, " GPA  ", " ", 1), host, result.Fail, [3]string{0: "cut: GPT: no GPA line", 2: "cut: GPT: no GPA line"}},
		{"five levels", walkText(t, "nested-npt-5level-broken.console.txt"), walkText(t, "nested-npt-5level-broken.console.txt"), result.NotGraded,
			[3]string{"the environment: 5-level paging", "la57=off", "the environment: 5-level paging"}},
		{"nothing mapped", guest, "EPT PGD index: 0\nGPA 000000000 000000000 111010101 010100011 011001011000\nThis is EPT\nno mapping at level 4\n(KVM has no table)\n", result.Fail,
			[3]string{1: "nothing is mapped at its PGD (KVM has no table)", 2: "no number, as nothing is mapped"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{"ept.txt": tc.host}
			if tc.guest != "" {
				files["gpt.txt"] = tc.guest
			}
			verdicts := gradeLogs(t, files)
			for i, id := range logChecks {
				v := verdicts[id]
				if tc.says[i] == "" {
					assert.Equal(t, result.Pass, v.Outcome, "%s: %s", id, v.Message)
					continue
				}
				assert.Equal(t, tc.outcome, v.Outcome, "%s: %s", id, v.Message)
				assert.Contains(t, v.Message, tc.says[i], id)
			}
		})
	}
}

func TestFailedLogHasParts(t *testing.T) {
	v := gradeLogs(t, map[string]string{"gpt.txt": strings.Replace(walkText(t, "course-gpt-dump.txt"), "469: PMD", "468: PMD", 1)})["mem.guest-log"]
	assert.Equal(t, "469", v.Expected)
	assert.Equal(t, "468", v.Got)
	assert.Equal(t, "line 20: GPT PMD: index before the entry differs from the bits of the address (they differ in bit 0)", v.Difference)
}

func TestLogThatIsTooLong(t *testing.T) {
	v := gradeLogs(t, map[string]string{"gpt.txt": strings.Repeat("x", maxLog+1)})["mem.guest-log"]
	assert.Equal(t, result.Fail, v.Outcome)
	assert.Contains(t, v.Message, "longer than")
}

func TestLiteralIsReplaced(t *testing.T) {
	for code, want := range map[string]string{
		"*p = 1772334;":       "*p = 555;",
		"*p = 1772334UL;":     "*p = 555UL;",
		"*p = 1772333; ++*p;": "*p = 554; ++*p;",
		"*p = 0x1B0b2e;":      "*p = 555;",
		"*p = 0x1b0b2dull;":   "*p = 554ull;",
		"*p = 11772334;":      "",
		"x1772334 = 17723340": "",
		"":                    "",
	} {
		got, replaced := replaceLiteral([]byte(code), 555)
		assert.Equal(t, want != "", replaced, code)
		if want != "" {
			assert.Equal(t, want, string(got))
		}
	}
}

func TestModuleIsStaged(t *testing.T) {
	root, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"lab2/walk_modified.c": `#include "number.h"`, "lab2/number.h": "#define NUMBER 1772334", "lab1/other.c": "1772334", "notes.txt": "1772334",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(root, "passwd.h")))
	replaced, err := stageModule(root, "lab2/walk_modified.c", to, 777)
	require.NoError(t, err)
	assert.True(t, replaced)
	header, err := os.ReadFile(filepath.Join(to, "lab2/number.h"))
	require.NoError(t, err)
	assert.Equal(t, "#define NUMBER 777", string(header))
	assert.FileExists(t, filepath.Join(to, "lab2/walk_modified.c"))
	for _, name := range []string{"lab1/other.c", "notes.txt", "passwd.h"} {
		assert.NoFileExists(t, filepath.Join(to, name))
	}
}

func TestParameterIsFound(t *testing.T) {
	info := []byte("license=GPL\x00parmtype=nonce:ulong\x00parm=once:a value (ulong)\x00name=walk\x00")
	assert.True(t, declares(info, "nonce"))
	assert.False(t, declares(info, "once"))
	assert.False(t, declares(nil, "nonce"))
	_, err := hasParameter(filepath.Join(t.TempDir(), "missing.ko"), "nonce")
	assert.Error(t, err)
}

func FuzzReplaceLiteral(f *testing.F) {
	f.Add("x = 1772334UL; y = 0x1b0b2d;", uint32(7))
	f.Fuzz(func(t *testing.T, code string, n uint32) {
		nonce := courseNumber + uint64(n%(1<<30)) + 2
		changed, replaced := replaceLiteral([]byte(code), nonce)
		assert.Equal(t, replaced, string(changed) != code)
		_, again := replaceLiteral(changed, nonce)
		assert.False(t, again)
	})
}
