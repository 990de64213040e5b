package result_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

const defaultRubric = "../../fixtures/rubric.toml"

func TestDefaultRubric(t *testing.T) {
	r, err := result.LoadRubric(defaultRubric, checks())
	require.NoError(t, err)
	got := map[string]float64{}
	for _, c := range checks() {
		got[c.ID] = r.Points(c.ID)
	}
	assert.Equal(t, contract, got)
	assert.Equal(t, 100.0, r.Total)
	assert.Equal(t, "upper", r.Transform)
	assert.Equal(t, "warning", r.Implausible)
	assert.NotEmpty(t, r.Title)
	assert.Equal(t, "1", r.Version)
}

func TestRubricDigest(t *testing.T) {
	text, err := os.ReadFile(defaultRubric)
	require.NoError(t, err)
	one, err := result.ParseRubric(text, "a.toml", checks())
	require.NoError(t, err)
	same, err := result.ParseRubric(text, "b.toml", checks())
	require.NoError(t, err)
	other, err := result.ParseRubric(append(text, '\n'), "a.toml", checks())
	require.NoError(t, err)
	assert.Regexp(t, "^sha256:[0-9a-f]{64}$", one.Digest)
	assert.Equal(t, one.Digest, same.Digest, "where it lies does not matter")
	assert.NotEqual(t, one.Digest, other.Digest)
}

// rubric is one for two checks, cpu.text and cpu.end, with lines replaced:
// "old => new".
func rubric(edits ...string) string {
	text := strings.Join([]string{
		`title = "t"`, `version = "1"`, `total = 10`, `transform = "upper"`, `implausible = "fail"`, // lines 1 to 5
		`[points.cpu]`, `text = 7.5`, `end = 2.5`, ``, // lines 6 to 8
	}, "\n")
	for _, e := range edits {
		old, replacement, _ := strings.Cut(e, " => ")
		text = strings.Replace(text, old, replacement, 1)
	}
	return text
}

var twoChecks = []result.Check{{ID: "cpu.text", Lab: result.CPU}, {ID: "cpu.end", Lab: result.CPU}}

func TestRubricForms(t *testing.T) {
	for name, text := range map[string]string{
		"tables":              rubric(),
		"dotted":              rubric("[points.cpu] => [points]", "text = => cpu.text =", "end = => cpu.end ="),
		"quoted ids":          rubric("[points.cpu] => [points]", "text = => \"cpu.text\" =", "end = => 'cpu.end' ="),
		"byte order mark":     "\ufeff" + rubric(),
		"lines of Windows":    strings.ReplaceAll(rubric(), "\n", "\r\n"),
		"sum as floats do it": rubric("total = 10 => total = 0.3", "7.5 => 0.1", "2.5 => 0.2"),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := result.ParseRubric([]byte(text), "r.toml", twoChecks)
			require.NoError(t, err)
			assert.InDelta(t, r.Total, r.Points("cpu.text")+r.Points("cpu.end"), 1e-9)
			assert.NotZero(t, r.Points("cpu.text"))
		})
	}
}

func TestRubricMistakes(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want []string // parts of the message
	}{
		{"not TOML", rubric(`title = "t" => title = t`), []string{"r.toml:1: "}},
		{"UTF-16", "t\x00i\x00", []string{"r.toml:1: "}},
		{"unknown key", rubric("total = => totl ="), []string{"r.toml:3: totl: there is no such setting (did you mean total?)", "r.toml: total is missing"}},
		{"unknown key near nothing", rubric("title = => colour ="), []string{"r.toml:1: colour: there is no such setting; there are title, version,"}},
		{"a setting in the wrong table", rubric("end = 2.5 => end = 2.5\nimplausible = \"fail\""), []string{`r.toml:9: cpu.implausible: a number of points is needed, this is "fail"`}},
		{"unknown transform", rubric("upper => uper"), []string{`r.toml:4: transform: "uper" is none of upper, lower, swap, rot13 (did you mean upper?)`}},
		{"unknown cost", rubric(`"fail" => "zero"`), []string{`r.toml:5: implausible: "zero" is none of warning, fail`}},
		{"version as a number", rubric(`"1" => 1`), []string{"r.toml:2: version: a text in quotes is needed, this is 1"}},
		{"total as text", rubric(`10 => "10"`), []string{`r.toml:3: total: a number above 0 is needed, this is "10"`}},
		{"total 0", rubric(`10 => 0`, "7.5 => 0", "2.5 => 0"), []string{"r.toml:3: total: a number above 0 is needed, this is 0"}},
		{"no points at all", rubric("[points.cpu] => [p.cpu]"), []string{"r.toml: points is missing", "r.toml:6: p: there is no such setting"}},
		{"points that are no table", "points = 3", []string{"r.toml:1: points: a table of checks is needed, this is 3"}},
		{"a check missing", rubric("end = 2.5 => "), []string{"r.toml: the check cpu.end has no points"}},
		{"unknown check", rubric("end = => edn ="), []string{"r.toml:8: cpu.edn: there is no such check (did you mean cpu.end?)", "the check cpu.end has no points"}},
		{"unknown lab", rubric("[points.cpu] => [points.bench]"), []string{"r.toml:7: bench.text: there is no such check"}},
		{"counted twice", rubric("end = 2.5 => end = 2.5\nend = 0"), []string{"r.toml:9: Key 'points.cpu.end' has already been defined"}},
		{"counted twice, the other way", rubric("[points.cpu] => [points]\n\"cpu.text\" = 1\n[points.cpu]"), []string{"cpu.text: this check is counted twice"}},
		{"negative", rubric("2.5 => -2.5", "7.5 => 12.5"), []string{"r.toml:8: cpu.end: -2.5 is no number of points"}},
		{"not a number", rubric("2.5 => nan"), []string{"r.toml:8: cpu.end: NaN is no number of points"}},
		{"infinite", rubric("2.5 => inf"), []string{"r.toml:8: cpu.end: +Inf is no number of points"}},
		{"text for points", rubric("2.5 => \"2.5\""), []string{`r.toml:8: cpu.end: a number of points is needed, this is "2.5"`}},
		{"finer than can be shown", rubric("2.5 => 2.501", "7.5 => 7.499"), []string{"r.toml:8: cpu.end: 2.501 points: they go in steps of 0.01"}},
		{"too few", rubric("2.5 => 2"), []string{"r.toml:3: total: the points add up to 9.5, but total is 10: 0.5 too few"}},
		{"too many", rubric("2.5 => 3"), []string{"r.toml:3: total: the points add up to 10.5, but total is 10: 0.5 too many"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := result.ParseRubric([]byte(c.text), "r.toml", twoChecks)
			require.Error(t, err)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.Equal(t, result.Host, result.OwnerOf(err), "a student is never to blame for it")
		})
	}
}

func TestRubricTellsAllMistakesInOrder(t *testing.T) {
	_, err := result.ParseRubric([]byte(rubric("upper => uper", "2.5 => -1", "7.5 => true")), "r.toml", twoChecks)
	require.Error(t, err)
	text := err.Error()
	assert.Less(t, strings.Index(text, "r.toml:4:"), strings.Index(text, "r.toml:7:"))
	assert.Less(t, strings.Index(text, "r.toml:7:"), strings.Index(text, "r.toml:8:"))
}

func TestRubricOfAHarnessThatCountsTwice(t *testing.T) {
	_, err := result.ParseRubric([]byte(rubric()), "r.toml", append(twoChecks, twoChecks[0]))
	assert.ErrorContains(t, err, "two checks named cpu.text")
}

func TestLoadRubricFails(t *testing.T) {
	dir := t.TempDir()
	_, err := result.LoadRubric(filepath.Join(dir, "none.toml"), twoChecks)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = result.LoadRubric(dir, twoChecks)
	assert.Error(t, err)
	big := filepath.Join(dir, "big.toml")
	require.NoError(t, os.WriteFile(big, make([]byte, 2<<20), 0o644))
	_, err = result.LoadRubric(big, twoChecks)
	assert.ErrorContains(t, err, "too many for a rubric")
}

// What is not refused adds up, and each check has its points.
func FuzzParseRubric(f *testing.F) {
	text, err := os.ReadFile(defaultRubric)
	require.NoError(f, err)
	f.Add(string(text))
	f.Add(rubric())
	f.Add(rubric("2.5 => 1e300", "10 => 1e300"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := result.ParseRubric([]byte(text), "r.toml", twoChecks)
		if err != nil {
			assert.Contains(t, err.Error(), "r.toml")
			return
		}
		sum := r.Points("cpu.text") + r.Points("cpu.end")
		assert.InDelta(t, r.Total, sum, 0.005)
		assert.True(t, r.Points("cpu.text") >= 0 && r.Points("cpu.end") >= 0)
	})
}

// checks() is in no order, so that nothing rests on one; this is for its users.
func TestContractAddsUp(t *testing.T) {
	var sum float64
	for points := range maps.Values(contract) {
		sum += points
	}
	assert.Equal(t, 100.0, sum)
}
