package result_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// schema compiles a JSON schema.
func schema(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

func schemaFile(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return schema(t, text)
}

func conforms(t testing.TB, s *jsonschema.Schema, text []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	assert.NoError(t, s.Validate(doc))
}

// noEnv is Classroom 50's format anywhere else.
func noEnv(string) string { return "" }

func classroom50(r *result.Report) ([]byte, error) { return result.Classroom50(r, noEnv) }

func TestGoldens(t *testing.T) {
	for name, format := range map[string]result.Format{
		result.GradescopeFile: result.Gradescope, result.JUnitFile: result.JUnit, result.Classroom50File: classroom50,
		result.OutcomeFile: result.JSON, result.HTMLFile: result.HTML, "report.md": result.Markdown, "report.txt": result.Text,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := format(sample())
			require.NoError(t, err)
			golden(t, name, got)
			again, err := format(sample())
			require.NoError(t, err)
			assert.Equal(t, string(got), string(again), "the same report, the same bytes")
		})
	}
}

func TestFormatsHaveTheNamesThatAreDocumented(t *testing.T) {
	assert.Equal(t, []string{"autolab", "classroom50", "gradescope", "html", "json", "junit", "markdown", "text"}, result.FormatNames())
	for name, format := range result.Formats {
		got, err := format(sample())
		require.NoError(t, err, name)
		assert.NotEmpty(t, got, name)
	}
}

// Reports of all kinds, for what must hold of every one.
func kinds() map[string]*result.Report {
	passed := graded()
	for i := range passed.Verdicts {
		if v := &passed.Verdicts[i]; v.Lab != result.ByHand {
			v.Outcome, v.Points = result.Pass, v.Max
		}
	}
	passed.Sum()
	return map[string]*result.Report{
		"sample": sample(), "graded": graded(), "passed": passed, "hostile": hostile(), "benign": benign(),
		"unreadable": {Schema: result.ReportSchema, Name: "x", Error: "submission: the zip is cut"},
		"bare":       {Schema: result.ReportSchema},
	}
}

func TestSchemas(t *testing.T) {
	for _, format := range []struct {
		name   string
		schema *jsonschema.Schema
		export result.Format
	}{
		{"outcome", schema(t, result.OutcomeSchema), result.JSON},
		{"gradescope", schemaFile(t, "gradescope.schema.json"), result.Gradescope},
		{"classroom50", schemaFile(t, "classroom50.schema.json"), classroom50},
		{"autolab", schemaFile(t, "autolab.schema.json"), lastLine},
	} {
		for kind, r := range kinds() {
			t.Run(format.name+" "+kind, func(t *testing.T) {
				got, err := format.export(r)
				require.NoError(t, err)
				conforms(t, format.schema, got)
			})
		}
	}
}

// The schemas are no formality: they refuse what they should.
func TestSchemasRefuse(t *testing.T) {
	outcome, err := result.JSON(sample())
	require.NoError(t, err)
	gradescope, err := result.Gradescope(sample())
	require.NoError(t, err)
	room, err := classroom50(sample())
	require.NoError(t, err)
	for _, c := range []struct {
		schema       *jsonschema.Schema
		text         []byte
		old, replace string
	}{
		{schema(t, result.OutcomeSchema), outcome, `"outcome": "fail"`, `"outcome": "PASS"`},
		{schema(t, result.OutcomeSchema), outcome, `"virtlab/outcome/v1"`, `"virtlab/outcome/v2"`},
		{schema(t, result.OutcomeSchema), outcome, `"points": 0.3`, `"points": 0.30000000000000004`},
		{schemaFile(t, "gradescope.schema.json"), gradescope, `"status": "failed"`, `"status": "error"`},
		{schemaFile(t, "classroom50.schema.json"), room, `"max-score": 10`, `"max-score": 10.5`},
	} {
		text := strings.Replace(string(c.text), c.old, c.replace, 1)
		require.NotEqual(t, string(c.text), text)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		require.NoError(t, err)
		assert.Error(t, c.schema.Validate(doc), c.replace)
	}
}

// Each field that Report has is in the schema, so that the schema is complete.
func TestSchemaHasEveryField(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
		Defs       map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(result.OutcomeSchema, &s))
	assert.ElementsMatch(t, fields(reflect.TypeFor[result.Report]()), keys(s.Properties))
	assert.ElementsMatch(t, fields(reflect.TypeFor[result.Verdict]()), keys(s.Defs["verdict"].Properties))
	assert.ElementsMatch(t, fields(reflect.TypeFor[result.FileUse]()), keys(s.Defs["file"].Properties))
	assert.ElementsMatch(t, fields(reflect.TypeFor[result.Stage]()), keys(s.Defs["stage"].Properties))
}

func fields(typ reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(typ) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func keys[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	for kind, r := range kinds() {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", r.Name)
			require.NoError(t, result.WriteAll(dir, r))
			got, err := result.ReadReport(filepath.Join(dir, result.OutcomeFile))
			require.NoError(t, err)
			once, err := result.JSON(r)
			require.NoError(t, err)
			twice, err := result.JSON(got)
			require.NoError(t, err)
			assert.Equal(t, string(once), string(twice))
			assert.Equal(t, r.Seed, got.Seed, "all 64 bits")
			assert.Equal(t, r.Counts(), got.Counts())
			assert.Equal(t, r.Score, got.Score)
		})
	}
}

func TestRoundTripKeepsWhatAStudentPrinted(t *testing.T) {
	r := hostile()
	text, err := result.JSON(r)
	require.NoError(t, err)
	got, err := result.ParseReport(text)
	require.NoError(t, err)
	for i := range r.Verdicts {
		assert.Equal(t, string([]rune(r.Verdicts[i].Message)), got.Verdicts[i].Message, "but for bytes that are no text")
	}
}

func TestWriteAll(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, result.OutcomeFile), []byte("of an earlier run"), 0o600))
	require.NoError(t, result.WriteAll(dir, sample()))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode(), e.Name())
	}
	assert.ElementsMatch(t, []string{"results.json", "junit.xml", "result.json", "outcome.json", "report.html"}, names, "and nothing half made")
}

// Where writing fails, what was there stays, and nothing half made is left.
func TestWriteAllLeavesTheOldOne(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, result.HTMLFile)
	require.NoError(t, os.MkdirAll(filepath.Join(blocked, "in the way"), 0o755))
	old := filepath.Join(dir, result.OutcomeFile)
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o644))
	err := result.WriteAll(dir, sample())
	require.ErrorContains(t, err, result.HTMLFile)
	assert.Equal(t, result.Host, result.OwnerOf(err))
	text, err := os.ReadFile(old)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text), "outcome.json is the last to be written")
	hidden, err := filepath.Glob(filepath.Join(dir, ".*.*"))
	require.NoError(t, err)
	assert.Empty(t, hidden)
}

func TestReadReportRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := result.ReadReport(filepath.Join(dir, "none.json"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":             {"", "no report"},
		"cut":                 {`{"schema":"virtlab/outcome/v1","score":1`, "no report"},
		"another schema":      {`{"schema":"virtlab/outcome/v9"}`, "virtlab/outcome/v9"},
		"Gradescope's":        {`{"score":100,"tests":[]}`, "schema"},
		"a list":              {`[]`, "no report"},
		"points from nowhere": {`{"schema":"virtlab/outcome/v1","score":100}`, "the checks come to 0 points"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), result.OutcomeFile)
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o644))
			_, err := result.ReadReport(path)
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, path)
		})
	}
	r, err := result.ParseReport([]byte(`{"schema":"virtlab/outcome/v1","new":{"field":1}}`))
	require.NoError(t, err, "fields may be added")
	assert.NotNil(t, r)
}

func FuzzParseReport(f *testing.F) {
	for _, r := range kinds() {
		text, err := result.JSON(r)
		require.NoError(f, err)
		if len(text) < 1<<20 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := result.ParseReport(text)
		if err != nil {
			return
		}
		for name, format := range result.Formats {
			got, err := format(r)
			if name == "json" && err != nil { // a year that JSON's times do not have
				continue
			}
			require.NoError(t, err, name)
			assert.True(t, utf8.Valid(got), name)
		}
		_, err = result.GradesCSV([]*result.Report{r})
		assert.NoError(t, err)
	})
}

// decode reads JSON into v.
func decode(t testing.TB, text []byte, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, v))
}

type gradescope struct {
	Score         float64
	Output        string
	Output_format string
	Tests         []struct {
		Name, Number, Status, Output, Output_format, Visibility string
		Score, Max_score                                        *float64
	}
}

func gradescopeOf(t testing.TB, r *result.Report) (g gradescope) {
	t.Helper()
	text, err := result.Gradescope(r)
	require.NoError(t, err)
	decode(t, text, &g)
	return g
}

func TestGradescope(t *testing.T) {
	g := gradescopeOf(t, sample())
	require.Len(t, g.Tests, 9)
	assert.Contains(t, g.Output, "has to be repeated")
	assert.Equal(t, "text", g.Output_format, "Gradescope's own choice would render HTML")
	var sum float64
	status := map[string]string{}
	for _, test := range g.Tests {
		status[test.Number] = test.Status
		if test.Score != nil {
			sum += *test.Score
		}
		assert.Equal(t, "text", test.Output_format)
		assert.Equal(t, "visible", test.Visibility)
	}
	assert.InDelta(t, g.Score, sum, 1e-9, "what counts is what is shown")
	assert.Equal(t, map[string]string{
		"1.1": "passed", "1.2": "passed", "1.3": "failed",
		"2.1": "",       // nothing to be had, nothing lost
		"3.1": "failed", // the grader's error
		"3.2": "failed", // not graded
		"3.3": "passed", "4.1": "passed",
		"5.1": "", // by hand
	}, status)
	assert.Contains(t, g.Tests[5].Output, "Not graded.")
	assert.Contains(t, g.Tests[4].Output, "Error of the grader")
	assert.Nil(t, g.Tests[8].Score, "by hand: seen, not counted")
	assert.NotContains(t, gradescopeOf(t, graded()).Output, "repeated")
}

func TestUnsandboxedIsSaid(t *testing.T) {
	r := graded()
	r.Unsandboxed = true
	for _, name := range []string{"gradescope", "text", "markdown", "html"} {
		got, err := result.Formats[name](r)
		require.NoError(t, err)
		assert.Contains(t, string(got), "tampered", name)
	}
}

type room struct {
	Classroom, Assignment, Owner, Submission, Commit, Review string
	Score                                                    int
	Max                                                      int `json:"max-score"`
	Tests                                                    []struct {
		Name    string `json:"test-name"`
		Passed  bool
		Score   int
		Max     int `json:"max-score"`
		Message string
	}
}

func TestClassroom50(t *testing.T) {
	text, err := classroom50(graded())
	require.NoError(t, err)
	var got room
	decode(t, text, &got)
	var score, max int
	for _, test := range got.Tests {
		score += test.Score
		max += test.Max
		assert.LessOrEqual(t, test.Score, test.Max, test.Name)
	}
	assert.Equal(t, got.Score, score)
	assert.Equal(t, got.Max, max)
	assert.Equal(t, 30, got.Max, "30.3, rounded, and without what is given by hand")
	assert.Equal(t, 10, got.Score)
	assert.Contains(t, got.Tests[len(got.Tests)-1].Name, "by hand, not counted")
}

func TestClassroom50SaysThatGradingFailed(t *testing.T) {
	text, err := classroom50(sample())
	require.NoError(t, err)
	var got room
	decode(t, text, &got)
	assert.Equal(t, "grading", got.Tests[0].Name)
	assert.False(t, got.Tests[0].Passed)
	assert.Contains(t, got.Tests[0].Message, "has to be repeated")
}

func TestClassroom50TakesIdentityFromItsRunner(t *testing.T) {
	env := map[string]string{
		"CLASSROOM": "virt", "ASSIGNMENT": "labs", "OWNER": "alice", "SUBMISSION_TAG": "submit/2026-06-01T14-32-05Z-a1b2c3d",
		"COMMIT_URL": "https://host/commit/1",
	}
	text, err := result.Classroom50(graded(), func(name string) string { return env[name] })
	require.NoError(t, err)
	conforms(t, schemaFile(t, "classroom50.schema.json"), text)
	var got room
	decode(t, text, &got)
	assert.Equal(t, room{Classroom: "virt", Assignment: "labs", Owner: "alice", Submission: env["SUBMISSION_TAG"], Commit: env["COMMIT_URL"], Review: env["COMMIT_URL"]},
		room{Classroom: got.Classroom, Assignment: got.Assignment, Owner: got.Owner, Submission: got.Submission, Commit: got.Commit, Review: got.Review})
}

func TestAutolab(t *testing.T) {
	assert.JSONEq(t, `{"scores":{"CPU":7,"Memory":0,"IO":3,"Comparison":0.3}}`, result.Autolab(graded()))
	assert.JSONEq(t, `{"scores":{"CPU":7,"Memory":0,"Comparison":0.3}}`, result.Autolab(sample()), "a lab whose grading failed stays open")
	failed := graded()
	failed.Error = "out of space"
	assert.JSONEq(t, `{"scores":{}}`, result.Autolab(failed))
}

// lastLine is what Autolab reads of an autograder's output.
func lastLine(r *result.Report) ([]byte, error) {
	out, err := result.Formats["autolab"](r)
	lines := bytes.Split(bytes.TrimRight(out, "\n"), []byte("\n"))
	return lines[len(lines)-1], err
}

func TestAutolabIsTheLastLine(t *testing.T) {
	for kind, r := range kinds() {
		got, err := lastLine(r)
		require.NoError(t, err)
		assert.Equal(t, result.Autolab(r), string(got), kind)
	}
}
