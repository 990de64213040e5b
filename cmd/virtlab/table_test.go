package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

var update = flag.Bool("update", false, "write the golden files anew")

func streamOf(t *testing.T, file string) *stream {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	defer f.Close()
	s, err := readEvents(f)
	require.NoError(t, err)
	return s
}

func TestTableGolden(t *testing.T) {
	tests := map[string][]string{
		"all":     {"labs.json", "bench.json", "unit.json"},
		"timeout": {"timeout.json"},
		"killed":  {"killed.json"},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			r := report{cwd: "/src/virtlab"}
			for _, f := range files {
				require.NoError(t, r.addFile(filepath.Join("testdata", f)))
			}
			var got bytes.Buffer
			require.NoError(t, r.print(&got, defaultWidth))
			for line := range strings.Lines(got.String()) {
				assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), defaultWidth, line)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), got.String())
		})
	}
}

func TestOutcomes(t *testing.T) {
	tests := []struct{ file, test, want string }{
		{"labs.json", "TestCPUSample", "pass"},
		{"labs.json", "TestCPUReference/upper-cased_guest_code/really", "fail"},
		{"labs.json", "TestMemTranslation", "fail"}, // its own check, its subtests pass
		{"labs.json", "TestIOEdu", "error"},         // declared by an attribute
		{"labs.json", "TestKVMSample", "not graded"},
		{"bench.json", "BenchmarkBoot/vmm=qemu-pc", "pass"},
		{"bench.json", "BenchmarkMemory/vmm=qemu-pc", "pass"}, // its line comes in two events
		{"bench.json", "BenchmarkBoot/vmm=qemu-microvm", "error"},
		{"timeout.json", "TestMemHang", "error"},
		{"unit.json", "TestC", "fail"},
		{"unit.json", "", "error"}, // a package that does not compile
	}
	for _, tt := range tests {
		t.Run(tt.file+" "+tt.test, func(t *testing.T) {
			for _, r := range streamOf(t, tt.file).results() {
				if r.name == tt.test {
					assert.Equal(t, result.Outcome(tt.want), r.outcome())
					return
				}
			}
			assert.Fail(t, "not among the results")
		})
	}
}

func TestParentsAreNotCountedTwice(t *testing.T) {
	var names []string
	for _, r := range streamOf(t, "labs.json").results() {
		names = append(names, r.name)
	}
	assert.NotContains(t, names, "TestCPUReference", "a failed subtest explains it")
	assert.NotContains(t, names, "TestCPUReference/upper-cased_guest_code")
	assert.Contains(t, names, "TestMemTranslation/4-level")
}

func TestKilledRunIsNoPass(t *testing.T) {
	s := streamOf(t, "killed.json")
	assert.Equal(t, 1, s.unread, "the line that was cut")
	results := s.results()
	assert.Equal(t, result.Broken, results[len(results)-1].outcome())
}

func TestEvidenceOfParent(t *testing.T) {
	for _, r := range streamOf(t, "labs.json").results() {
		if r.name == "TestMemTranslation/4-level" {
			assert.True(t, strings.HasPrefix(r.evidence, "/src/virtlab/out/_artifacts/"), r.evidence)
		}
	}
}

func TestMessageOfAssertion(t *testing.T) {
	s := streamOf(t, "labs.json")
	for _, r := range s.results() {
		if r.name == "TestCPUReference/upper-cased_guest_code/really" {
			assert.Equal(t, "the program's answer to the byte injected at exit 3\nNot equal:\nexpected: \"Q\"\nactual  : \"q\"", s.message(r))
		}
	}
}

func TestRepeatedTestIsTwoResults(t *testing.T) {
	const twice = `{"Action":"run","Package":"virtlab/labs","Test":"TestCPU"}
{"Action":"fail","Package":"virtlab/labs","Test":"TestCPU"}
{"Action":"run","Package":"virtlab/labs","Test":"TestCPU"}
{"Action":"pass","Package":"virtlab/labs","Test":"TestCPU"}
{"Action":"fail","Package":"virtlab/labs"}
`
	s, err := readEvents(strings.NewReader(twice))
	require.NoError(t, err)
	require.Len(t, s.results(), 2)
	assert.Equal(t, result.Fail, s.results()[0].outcome())
}

func TestAttributeMakesNoPass(t *testing.T) {
	const stream = `{"Action":"run","Package":"p/labs","Test":"TestCPU"}
{"Action":"attr","Package":"p/labs","Test":"TestCPU","Key":"outcome","Value":"pass"}
{"Action":"fail","Package":"p/labs","Test":"TestCPU"}
`
	s, err := readEvents(strings.NewReader(stream))
	require.NoError(t, err)
	assert.Equal(t, result.Fail, s.results()[0].outcome())
}

func TestTableRefusesEmptyStreams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.json")
	require.NoError(t, os.WriteFile(file, []byte("go: no such tool\n"), 0o644))
	var out bytes.Buffer
	err := runTable(context.Background(), []string{file}, &out, &out)
	assert.ErrorContains(t, err, "no events")
	assert.ErrorContains(t, err, file)
	assert.ErrorIs(t, runTable(context.Background(), []string{file + ".not"}, &out, &out), os.ErrNotExist)
	assert.ErrorIs(t, runTable(context.Background(), nil, &out, &out), errUsage)
}

// A table never loses a failure, whatever the stream holds.
func FuzzReadEvents(f *testing.F) {
	for _, file := range []string{"labs.json", "bench.json", "unit.json", "timeout.json", "killed.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(`{"Action":"fail","Package":"p","Test":"T//"}` + "\n" + `{"Action":"output","Package":"p","Test":"/","Output":"\t Error: \n"}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readEvents(strings.NewReader(text))
		if err != nil {
			return
		}
		bad := func(runs []*testRun) bool {
			for _, r := range runs {
				if r.end == "fail" {
					return true
				}
			}
			return false
		}
		var r report
		r.add(s)
		var out strings.Builder
		if err := r.print(&out, defaultWidth); err != nil {
			t.Fatal(err)
		}
		if bad(s.runs) && r.counts[result.Fail]+r.counts[result.Broken] == 0 {
			t.Errorf("a failure is not in the table:\n%s", out.String())
		}
	})
}
