package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"virtlab/harness/result"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Time        time.Time
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	Path        string // artifacts: the directory
	Key, Value  string // attr
	ImportPath  string // build-output: what did not compile
	FailedBuild string // fail: the ImportPath of the cause
}

// testRun is what the events say about one test, or about a whole package where
// name is empty.
type testRun struct {
	pkg, name   string
	end         string // pass, fail, skip, or empty: it never ended
	first, last time.Time
	elapsed     float64
	evidence    string // artifact directory
	declared    string // value of the attribute "outcome"
	failedBuild string
	output      []string // without the framing lines
}

// stream is all that one event stream tells, in the order of its events.
type stream struct {
	runs     []*testRun
	builds   map[string][]string // compiler output by import path
	unread   int                 // lines that are no events
	openRuns map[[2]string]*testRun
}

// readEvents reads an event stream to its end. Lines that are no events are
// counted, not trusted: a test that ended in one has no result. A stream without
// any event is an error.
func readEvents(r io.Reader) (*stream, error) {
	s := &stream{builds: map[string][]string{}, openRuns: map[[2]string]*testRun{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(s.runs) == 0 && len(s.builds) == 0 {
		return nil, errors.New("no events of go test -json in it")
	}
	s.inheritEvidence()
	return s, nil
}

func (s *stream) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		s.unread++
		return
	}
	switch {
	case e.Action == "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case e.Package != "":
		s.run(e).apply(e)
	}
}

// run is the test that e is about. A test that runs again (-count) is another.
func (s *stream) run(e event) *testRun {
	key := [2]string{e.Package, e.Test}
	t := s.openRuns[key]
	if t == nil || (t.end != "" && (e.Action == "run" || e.Action == "start")) {
		t = &testRun{pkg: e.Package, name: e.Test, first: e.Time}
		s.openRuns[key] = t
		s.runs = append(s.runs, t)
	}
	return t
}

func (t *testRun) apply(e event) {
	if !e.Time.IsZero() {
		t.last = e.Time
	}
	switch e.Action {
	case "pass", "fail", "skip":
		t.end, t.elapsed, t.failedBuild = e.Action, e.Elapsed, e.FailedBuild
	case "artifacts":
		t.evidence = e.Path
	case "attr":
		if e.Key == "outcome" {
			t.declared = e.Value
		}
	case "output":
		if !framing.MatchString(e.Output) {
			t.output = append(t.output, e.Output)
		}
	}
}

// framing are the lines that go test itself prints around a test's output.
var framing = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME|ATTR|ARTIFACTS) |--- (PASS|FAIL|SKIP|BENCH): )`)

// outcome maps how a test ended to the four outcomes. A failed test is the
// submission's failure unless it set the attribute "outcome" to "error"
// (testing.T.Attr) or panicked; benchmarks and packages grade nothing, so theirs
// are errors. What never ended is an error too, since nobody knows. Benchmarks
// that pass have no end, but a line of results.
func (t *testRun) outcome() result.Outcome {
	switch {
	case t.end == "pass", t.end == "" && t.hasBenchmarkLine():
		return result.Pass
	case t.end == "skip":
		return result.NotGraded
	case t.end == "fail" && strings.HasPrefix(t.name, "Test") && t.declared != string(result.Broken) && !t.panicked():
		return result.Fail
	default:
		return result.Broken
	}
}

func (t *testRun) panicked() bool {
	return slices.ContainsFunc(t.output, isPanic)
}

// benchmarkLine is a result of package testing: name, iterations, value, unit.
// It comes in two events where the benchmark is long.
var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark\S*\s+\d+\s+[0-9.e+-]+ \S+`)

func (t *testRun) hasBenchmarkLine() bool {
	return strings.HasPrefix(t.name, "Benchmark") && benchmarkLine.MatchString(strings.Join(t.output, ""))
}

func (t *testRun) seconds() float64 {
	if t.end == "" {
		return max(0, t.last.Sub(t.first).Seconds())
	}
	return t.elapsed
}

// results are the tests to show: leaves, and what failed without a leaf that
// explains it (a parent's own check, a package that did not compile).
func (s *stream) results() []*testRun {
	parents, failed := map[[2]string]bool{}, map[[2]string]bool{}
	for _, t := range s.runs {
		for name := range ancestors(t) {
			parents[[2]string{t.pkg, name}] = true
		}
	}
	// The deepest first: a parent is shown when no child of it failed.
	order := slices.Clone(s.runs)
	slices.SortStableFunc(order, func(a, b *testRun) int { return cmp.Compare(depth(b), depth(a)) })
	shown := map[*testRun]bool{}
	for _, t := range order {
		key := [2]string{t.pkg, t.name}
		bad := t.outcome() == result.Fail || t.outcome() == result.Broken
		if parents[key] || t.name == "" {
			bad = bad && !isBenchmarkParent(t)
			shown[t] = bad && !failed[key]
		} else {
			shown[t] = true
		}
		if bad {
			for name := range ancestors(t) {
				failed[[2]string{t.pkg, name}] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.runs), func(t *testRun) bool { return !shown[t] })
}

// isBenchmarkParent tells a benchmark that only has sub-benchmarks: when all of
// them pass no event ends it.
func isBenchmarkParent(t *testRun) bool {
	return strings.HasPrefix(t.name, "Benchmark") && t.end == ""
}

func depth(t *testRun) int {
	if t.name == "" {
		return 0
	}
	return 1 + strings.Count(t.name, "/")
}

// ancestors yields the names of the tests above t, up to "", its package.
func ancestors(t *testRun) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := t.name; name != ""; {
			i := max(0, strings.LastIndexByte(name, '/'))
			name = name[:i]
			if !yield(name) {
				return
			}
		}
	}
}

// inheritEvidence gives tests without evidence of their own that of the nearest
// test above them.
func (s *stream) inheritEvidence() {
	own := map[[2]string]string{}
	for _, t := range s.runs {
		own[[2]string{t.pkg, t.name}] = t.evidence
	}
	for _, t := range s.runs {
		for name := range ancestors(t) {
			if t.evidence == "" {
				t.evidence = own[[2]string{t.pkg, name}]
			}
		}
	}
}

// unreadNote says that part of a stream was not understood.
func (s *stream) unreadNote(file string) string {
	if s.unread == 0 {
		return ""
	}
	return fmt.Sprintf("%s: left out %s that are no events of go test -json\n", file, plural(s.unread, "line"))
}
