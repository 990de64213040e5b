package labs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/corpus"
	"virtlab/harness/gradetest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// A class: two references, and between them submissions that attack the grader in
// every lab at once, by what they hold and by their very zip. It does not run
// beside other tests, so that what it leaves on the machine can be seen.
func TestClassMutants(t *testing.T) {
	gradetest.NeedSandbox(t)
	lab := harness.New(t)
	handins := t.TempDir()
	attacks := map[string][]string{ // a case of each lab
		"B-attacks": {"cpu/fork-bomb", "mem/module-panics", "io/constructor-attacks"},
		"C-forges":  {"cpu/forges-verdict", "mem/module-forged-walk", "io/test-fork-bomb", "bench/formulas"},
	}
	for _, name := range []string{"A-reference", "D-reference"} {
		require.NoError(t, corpus.Reference(filepath.Join(handins, name)))
	}
	for name, cases := range attacks {
		require.NoError(t, corpus.WriteAll(filepath.Join(handins, name), cases...))
	}
	odd := "E-odd\n\"name'$(reboot)"
	require.NoError(t, corpus.Reference(filepath.Join(handins, odd)))
	require.NoError(t, os.WriteFile(filepath.Join(handins, odd, "\x1b[31m\n'\";rm -rf .c"), []byte("#error odd\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(handins, "F-cut.zip"), []byte("PK\x03\x04 and no more"), 0o644))

	require.NoError(t, corpus.Adopt())
	temporary := shortDir(t)
	before, err := corpus.Look(temporary)
	require.NoError(t, err)
	out := filepath.Join(lab.Evidence, "class")
	gradeAll := func() string {
		said, err := machine.RunCmd(lab.Ctx, machine.Host, machine.Cmd{
			Args: []string{lab.Program(machine.Host, "virtlab"), "grade", "-o", out, handins}, Env: []string{"TMPDIR=" + temporary}})
		require.NoError(t, err, "grading has an outcome for each of them\n%s", said)
		return said
	}
	gradeAll()

	after, err := corpus.Look(temporary)
	require.NoError(t, err)
	assert.Empty(t, after.Since(before), "they left something on this machine")

	reports := readReports(t, out)
	require.Len(t, reports, 6)
	reference := reports["A-reference"]
	assert.Equal(t, reference.Max, reference.Score, "the reference has all points")
	for name, r := range reports {
		assert.False(t, r.Failed(), "%s: %s", name, r.Error)
		switch {
		case attacks[name] != nil:
			assert.NoError(t, corpus.JudgeAll(r, reference, attacks[name]...), name)
		case name == "F-cut":
			assert.Zero(t, r.Score)
		default:
			assert.Equal(t, reference.Score, r.Score, name)
		}
	}

	again := gradeAll()
	for name, r := range readReports(t, out) {
		if name != "F-cut" { // what is refused is looked at again
			assert.True(t, r.Started.Equal(reports[name].Started), "%s was graded again:\n%s", name, again)
		}
	}
}

// shortDir is a temporary directory with a path that leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// readReports reads the reports of a class by name.
func readReports(t *testing.T, out string) map[string]*result.Report {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, "*", "outcome.json"))
	require.NoError(t, err)
	reports := map[string]*result.Report{}
	for _, f := range slices.Sorted(slices.Values(files)) {
		r, err := result.ReadReport(f)
		require.NoError(t, err)
		reports[r.Name] = r
	}
	return reports
}
