package result_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// class is a small one: passed, graded, failed grading, unreadable, one lab only.
func class() []*result.Report {
	as := func(name, student, digest string, r *result.Report) *result.Report {
		r.Name, r.Student, r.ID, r.Digest = name, student, "00"+name, digest
		return r
	}
	one := graded()
	one.Verdicts = one.Verdicts[:3]
	one.Max, one.Hand = 17, 0
	one.Sum()
	return []*result.Report{
		as("d", "=cmd|' /C calc'!A0", "sha256:2", one),
		as("a", "小明", "sha256:1", kinds()["passed"]),
		as("c", "Ada", "sha256:3", sample()),
		as("b", "Grace", "sha256:1", graded()),
		as("e", "", "", &result.Report{Schema: result.ReportSchema, Source: "cut.zip", Error: "the zip is cut\nat byte 7"}),
	}
}

func TestWriteClass(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, result.WriteClass(dir, class()))
	for _, name := range []string{result.GradesFile, result.IndexFile} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		golden(t, name, got)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2)
}

// table reads grades.csv back as a spreadsheet would.
func table(t testing.TB, reports []*result.Report) (rows []map[string]string) {
	t.Helper()
	text, err := result.GradesCSV(reports)
	require.NoError(t, err)
	rest, hasMark := strings.CutPrefix(string(text), "\ufeff")
	require.True(t, hasMark, "Excel reads UTF-8 only with a byte order mark")
	assert.Equal(t, strings.Count(rest, "\n"), strings.Count(rest, "\r\n"), "RFC 4180 ends lines with CRLF")
	records, err := csv.NewReader(strings.NewReader(rest)).ReadAll()
	require.NoError(t, err)
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, column := range records[0] {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func TestGradesCSV(t *testing.T) {
	rows := table(t, class())
	require.Len(t, rows, 5)
	one, passed, broken, unreadable := rows[0], rows[1], rows[2], rows[4]
	assert.Equal(t, "'=cmd|' /C calc'!A0", one["student"], "no formula")
	assert.Equal(t, "", one["io.function"], "not graded in this run at all")
	assert.Equal(t, "小明", passed["student"])
	assert.Equal(t, "00a", passed["id"])
	assert.Equal(t, "30.3", passed["score"])
	assert.Equal(t, "10", passed["by_hand"])
	assert.Equal(t, "graded", passed["status"])
	assert.Equal(t, "by hand", passed["report.read"])
	assert.Equal(t, "./a/report.html", passed["report"])
	assert.Equal(t, "repeat", broken["status"])
	assert.Equal(t, "error", broken["io.interrupt"])
	assert.Equal(t, "not graded", broken["io.test-runs"])
	assert.Equal(t, "0", broken["cpu.transform"])
	assert.Equal(t, "7", broken["cpu"])
	assert.Equal(t, "1", broken["warnings"])
	assert.Equal(t, "repeat", unreadable["status"])
}

func TestHostileTextStaysInItsCell(t *testing.T) {
	r := hostile()
	rows := table(t, []*result.Report{r, graded()})
	require.Len(t, rows, 2)
	for column, value := range rows[0] {
		assert.NotContains(t, value, "\n", column)
		assert.NotRegexp(t, `^[=+@\t\r-]`, value, column)
	}
}

func TestIndex(t *testing.T) {
	text, err := result.IndexHTML(class())
	require.NoError(t, err)
	page := string(text)
	assert.Contains(t, page, "3 graded, 2 to be graded again")
	assert.Contains(t, page, "the zip is cut")
	assert.NotContains(t, page, "at byte 7", "one line for each")
	assert.Contains(t, page, "Same content")
	same := page[strings.Index(page, "Same content"):strings.Index(page, "Distribution")]
	assert.Contains(t, same, "小明")
	assert.Contains(t, same, "Grace")
	assert.NotContains(t, same, "Ada")
	rates := page[strings.Index(page, ">Checks "):]
	assert.Regexp(t, `cpu\.transform</code>.*>1 \(25 %\)</td><td class="number">3<`, rates)
	assert.Regexp(t, `io\.interrupt</code>.*>1 \(33 %\)</td><td class="number">1</td><td class="number">0</td><td class="number">1<`, rates)
	assert.NotContains(t, rates, "report.read", "a person's work is no rate")
}

func TestIndexOfNobody(t *testing.T) {
	text, err := result.IndexHTML(nil)
	require.NoError(t, err)
	assert.Contains(t, string(text), "0 submissions")
	assert.NotContains(t, string(text), "NaN")
	assert.Empty(t, table(t, nil))
}

func TestIndexStatistics(t *testing.T) {
	var reports []*result.Report
	for i, score := range []float64{0, 10, 20, 90, 100} {
		reports = append(reports, &result.Report{
			Name: fmt.Sprint(i), Score: score, Max: 100, Digest: fmt.Sprint(i),
			Verdicts: []result.Verdict{{Check: result.Check{ID: "cpu.text", Lab: result.CPU}, Outcome: result.Pass, Points: score, Max: 100}},
		})
	}
	text, err := result.IndexHTML(reports)
	require.NoError(t, err)
	page := string(text)
	assert.Contains(t, page, "<strong>20</strong> <span>/ 100</span><p>median; mean 44</p>")
	for _, bin := range []string{"1 with 0 to 10 %", "1 with 10 to 20 %", "1 with 20 to 30 %", "2 with 90 to 100 %", "0 with 50 to 60 %"} {
		assert.Contains(t, page, bin)
	}
	assert.NotContains(t, page, "Same content")
	assert.NotContains(t, page, "has to be repeated")
}

func TestClassOfAThousand(t *testing.T) {
	reports := make([]*result.Report, 1000)
	for i := range reports {
		reports[i] = graded()
		reports[i].Name = fmt.Sprintf("s%04d", i)
	}
	require.NoError(t, result.WriteClass(t.TempDir(), reports))
}
