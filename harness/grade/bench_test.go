package grade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/corpus"
	"virtlab/harness/measure"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// The checks of experiment 4 look at numbers and boot nothing, so its whole
// corpus runs here, without the assets.

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	root, err := harness.Root()
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(root, "fixtures", name))
	require.NoError(t, err)
	return content
}

// benchFiles are the measurements of a case of the corpus.
func benchFiles(t *testing.T, c corpus.Case) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"bench.txt": fixture(t, "submission/bench.txt")}
	for to, from := range c.Files {
		delete(files, to)
		if from != "" {
			files[to] = fixture(t, "mutants/"+from)
		}
	}
	for to, from := range c.Append {
		files[to] = append(files[to], fixture(t, "mutants/"+from)...)
	}
	return files
}

// gradeBench grades experiment 4 of a submission with these files.
func gradeBench(t *testing.T, files map[string][]byte, implausible string) *result.Report {
	t.Helper()
	in := filepath.Join(t.TempDir(), "in")
	require.NoError(t, os.Mkdir(in, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(in, "report.md"), []byte("# Report\n"), 0o644))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(in, name), content, 0o644))
	}
	handins, err := submission.Find(in)
	require.NoError(t, err)
	require.Len(t, handins, 1)
	sub, err := submission.Open(t.Context(), handins[0], filepath.Join(t.TempDir(), "submission"), submission.Limits{})
	require.NoError(t, err)
	root, err := harness.Root()
	require.NoError(t, err)
	rubric, err := result.LoadRubric(filepath.Join(root, "fixtures", "rubric.toml"), Checks())
	require.NoError(t, err)
	rubric.Implausible = implausible
	return Grade(t.Context(), sub, Options{Rubric: rubric, Dir: t.TempDir(), Labs: []result.Lab{result.Bench}, Source: "in"})
}

func benchVerdict(t *testing.T, r *result.Report, id string) result.Verdict {
	t.Helper()
	for _, v := range r.Verdicts {
		if v.ID == id {
			return v
		}
	}
	require.Fail(t, "no verdict", "%s", id)
	return result.Verdict{}
}

func TestBenchReference(t *testing.T) {
	r := gradeBench(t, benchFiles(t, corpus.Case{}), "fail")
	require.Len(t, r.Verdicts, 5)
	for _, v := range r.Verdicts {
		assert.Equal(t, result.Pass, v.Outcome, "%s: %s", v.ID, v.Message)
		assert.Equal(t, v.Max, v.Points, v.ID)
		assert.NotEmpty(t, v.Message, v.ID)
	}
	assert.Equal(t, "27 cells each on qemu-microvm and qemu-pc", benchVerdict(t, r, "bench.complete").Message)
}

func TestBenchCorpus(t *testing.T) {
	reference := gradeBench(t, benchFiles(t, corpus.Case{}), "warning")
	cases, err := corpus.Load(result.Bench)
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := gradeBench(t, benchFiles(t, c), "warning")
			require.NoError(t, c.Judge(r, reference), c.What)
			for _, v := range r.Verdicts {
				assert.Less(t, len(v.Message), 4000, "%s: a message is for a reader", v.ID)
			}
		})
	}
}

func TestBenchImplausibleIsTheRubricsChoice(t *testing.T) {
	table := string(fixture(t, "mutants/bench/totals.csv"))
	lines := strings.Split(table, "\n")
	for i, l := range lines { // a disk that is faster than memory, and says so in both of its numbers
		cells := strings.Split(l, ",")
		if len(cells) > 9 && cells[1] == "fileio" && cells[3] == "128k" {
			cells[8], cells[9] = "1600000", "200000"
			lines[i] = strings.Join(cells, ",")
		}
	}
	files := map[string][]byte{"measurements.csv": []byte(strings.Join(lines, "\n"))}
	v := benchVerdict(t, gradeBench(t, files, "warning"), "bench.data-set")
	assert.Equal(t, result.Pass, v.Outcome)
	assert.Contains(t, strings.Join(v.Warnings, "\n"), "is faster than the same guest's memory")
	v = benchVerdict(t, gradeBench(t, files, "fail"), "bench.data-set")
	assert.Equal(t, result.Fail, v.Outcome)
	assert.Contains(t, v.Message, "is faster than the same guest's memory")
	assert.Equal(t, "200000 MiB/s", v.Got)
}

func TestBenchUncheckedRowsCostTheirShare(t *testing.T) {
	var rows []string
	for l := range strings.Lines(string(fixture(t, "submission/bench.txt"))) {
		if strings.HasPrefix(l, "BenchmarkSysbenchCPU") { // 20 of 100 rows
			l = l[:strings.Index(l, "\t       1\t")] + "\t 1\t 1125 ops/s\n"
		}
		rows = append(rows, l)
	}
	v := benchVerdict(t, gradeBench(t, map[string][]byte{"bench.txt": []byte(strings.Join(rows, ""))}, "fail"), "bench.identities")
	assert.Equal(t, result.Pass, v.Outcome, v.Message)
	assert.InDelta(t, 0.8*v.Max, v.Points, 1e-9)
	assert.Contains(t, v.Warnings[0], "only 80 of 100 rows of sysbench have two numbers")
}

func TestBenchShortTablesAreWorthLittle(t *testing.T) {
	const short = "# machine: microvm\nvmm,test,threads,events/s,latency (ms)\nqemu,cpu,4,1157.30,3.45\nqemu,cpu,4,1136.10,3.51\n" +
		"stratovirt,cpu,4,1113.40,3.58\nstratovirt,cpu,4,1145.20,3.47\n"
	r := gradeBench(t, map[string][]byte{"measurements.csv": []byte(short)}, "warning")
	assert.Less(t, r.Score, 0.3, "of 10 points, for 2 of 54 cells")
	v := benchVerdict(t, r, "bench.repeats")
	assert.Equal(t, result.Pass, v.Outcome)
	assert.Contains(t, v.Warnings, "only 2 of 54 cells of the course are there to be looked at: 0.04 of 1 points")
}

func TestBenchHugeFile(t *testing.T) {
	huge := []byte(strings.Repeat("BenchmarkBoot/vmm=qemu-pc-2 \t 1\t 747644744 ns/op\n", 50<<20/50))
	r := gradeBench(t, map[string][]byte{"bench.txt": huge}, "warning")
	for _, v := range r.Verdicts {
		assert.Equal(t, result.Fail, v.Outcome, v.ID)
		assert.Contains(t, v.Message, fmt.Sprintf("longer than %d bytes", measure.MaxBytes))
	}
}
