package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"virtlab/harness/result"
)

// runTable prints the closing table of a test run. Its status says whether the
// table could be made; what the tests came to is the status of go test.
func runTable(_ context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	if err := parseFlags(flags, args, stderr, -1); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return usage(stderr, flags, "which files? Give what gotestsum --jsonfile or go test -json wrote")
	}
	var all report
	for _, file := range flags.Args() {
		if err := all.addFile(file); err != nil {
			return err
		}
	}
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	all.cwd = cwd
	return all.print(stdout, width(stdout))
}

// defaultWidth is the table's width, in columns, where no terminal has one.
const defaultWidth = 100

func width(w io.Writer) int {
	if f, isFile := w.(*os.File); isFile {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return max(columns, 60)
		}
	}
	return defaultWidth
}

// labs in the table's order; the benchmarks are those of the comparison lab.
var labs = []string{"CPU", "Mem", "IO", "Bench", "KVM", "Guest", "labs", "unit"}

var labName = regexp.MustCompile(`^Test(CPU|Mem|IO|Bench|KVM|Guest)`)

// labOf is the lab that a test belongs to: by its name if it is an experiment,
// "unit" if it is not.
func labOf(t *testRun) string {
	if !slices.Contains(strings.Split(t.pkg, "/"), "labs") {
		return "unit"
	}
	if m := labName.FindStringSubmatch(t.name); m != nil {
		return m[1]
	}
	if strings.HasPrefix(t.name, "Benchmark") {
		return "Bench"
	}
	return "labs"
}

// row is a line of the table.
type row struct {
	lab      string
	test     string
	outcome  result.Outcome
	seconds  float64
	evidence string
	message  string // why it did not pass; of a sum: what was skipped
	sum      bool   // of unit tests
}

// report gathers the rows of several streams.
type report struct {
	rows   []row
	counts map[result.Outcome]int // of tests, unit tests included
	notes  string
	cwd    string // evidence is shown relative to it
}

func (r *report) addFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := readEvents(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.notes += s.unreadNote(file)
	r.add(s)
	return nil
}

func (r *report) add(s *stream) {
	if r.counts == nil {
		r.counts = map[result.Outcome]int{}
	}
	var units groups
	for _, t := range s.results() {
		one := row{lab: labOf(t), test: title(t), outcome: t.outcome(), seconds: t.seconds(), evidence: t.evidence}
		if one.outcome != result.Pass {
			one.message = s.message(t)
		}
		r.counts[one.outcome]++
		if one.lab == "unit" {
			units.of(t.pkg).add(t, one)
			one.test = unitTitle(t)
		}
		if one.lab != "unit" || one.outcome == result.Fail || one.outcome == result.Broken {
			r.rows = append(r.rows, one)
		}
	}
	for _, g := range units {
		r.rows = append(r.rows, g.row())
	}
}

func title(t *testRun) string {
	if t.name == "" {
		return "(package " + t.pkg + ")"
	}
	return t.name
}

// unitTitle is title with the package, which names of unit tests need.
func unitTitle(t *testRun) string {
	if t.name == "" {
		return title(t)
	}
	return path.Base(t.pkg) + ": " + t.name
}

// groupOf is the directory below the module that a package lies in: harness for
// virtlab/harness/qmp.
func groupOf(pkg string) string {
	_, below, ok := strings.Cut(pkg, "/")
	if !ok {
		return pkg
	}
	top, _, _ := strings.Cut(below, "/")
	return top
}

// groups in the order of their first test.
type groups []*group

func (gs *groups) of(pkg string) *group {
	name := groupOf(pkg)
	for _, g := range *gs {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name, packages: map[string]bool{}, counts: map[result.Outcome]int{}}
	*gs = append(*gs, g)
	return g
}

// group sums up the unit tests below one directory.
type group struct {
	name     string
	packages map[string]bool
	counts   map[result.Outcome]int
	seconds  float64
	skipped  []string
}

func (g *group) add(t *testRun, one row) {
	g.packages[t.pkg] = true
	g.counts[one.outcome]++
	g.seconds += one.seconds
	if one.outcome == result.NotGraded {
		g.skipped = append(g.skipped, path.Base(t.pkg)+" "+one.test+": "+strings.ReplaceAll(one.message, "\n", " "))
	}
}

func (g *group) row() row {
	total := 0
	for _, n := range g.counts {
		total += n
	}
	r := row{lab: "unit", outcome: result.Pass, seconds: g.seconds, sum: true,
		test: fmt.Sprintf("%s: %s in %s", g.name, plural(total, "test"), plural(len(g.packages), "package"))}
	for _, bad := range []result.Outcome{result.NotGraded, result.Fail, result.Broken} {
		if n := g.counts[bad]; n > 0 {
			r.test += fmt.Sprintf(", %d %s", n, bad)
			if bad != result.NotGraded {
				r.outcome = bad
			}
		}
	}
	r.message = strings.Join(g.skipped, "\n")
	return r
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (r *report) print(w io.Writer, columns int) error {
	slices.SortStableFunc(r.rows, func(a, b row) int {
		return cmp.Compare(slices.Index(labs, a.lab), slices.Index(labs, b.lab))
	})
	r.table(w, columns)
	for _, one := range r.rows {
		if one.message != "" {
			fmt.Fprintf(w, "\n%s: %s\n%s\n", one.headline(), one.test, indent(one.message, columns))
		}
	}
	_, err := fmt.Fprint(w, r.notes)
	return err
}

// headline says what the message below it is about.
func (r row) headline() string {
	if r.sum {
		return "skipped"
	}
	return string(r.outcome)
}

const (
	bordersAndPadding = 16 // of five columns: "│ " + " │ "*4 + " │"
	fixedColumns      = 5 + 10 + 7
)

func (r *report) table(w io.Writer, columns int) {
	t := newTable(w)
	t.AppendHeader(table.Row{"lab", "test", "outcome", "seconds", "evidence"})
	free := columns - bordersAndPadding - fixedColumns
	root := r.evidenceRoot()
	evidence := min(r.longestEvidence(root), free/2)
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, WidthMax: free - evidence, WidthMaxEnforcer: text.WrapHard},
		{Number: 4, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 5, WidthMax: evidence, WidthMaxEnforcer: text.WrapHard},
	})
	for i, one := range r.rows {
		lab := one.lab
		if i > 0 && lab == r.rows[i-1].lab {
			lab = ""
		} else {
			t.AppendSeparator()
		}
		t.AppendRow(table.Row{lab, one.test, one.outcome, fmt.Sprintf("%.1f", one.seconds), below(root, one.evidence)})
	}
	t.Render()
	if root != "" {
		fmt.Fprintf(w, "evidence lies below %s\n", r.relative(root))
	}
	fmt.Fprintln(w, r.summary())
}

func (r *report) longestEvidence(root string) int {
	longest := len("evidence")
	for _, one := range r.rows {
		longest = max(longest, len(below(root, one.evidence)))
	}
	return longest
}

// evidenceRoot is the directory that holds all evidence: go test gives each test
// a directory with a number for a name, all in one place.
func (r *report) evidenceRoot() (root string) {
	for _, one := range r.rows {
		switch dir := filepath.Dir(one.evidence); {
		case one.evidence == "":
		case root == "":
			root = dir
		default:
			for !strings.HasPrefix(dir+"/", strings.TrimSuffix(root, "/")+"/") {
				root = filepath.Dir(root)
			}
		}
	}
	return root
}

// below is p as seen from root.
func below(root, p string) string {
	if rel, err := filepath.Rel(root, p); p != "" && err == nil {
		return rel
	}
	return p
}

// relative is a path as seen from the working directory, if it lies below it.
func (r *report) relative(p string) string {
	if rel, err := filepath.Rel(r.cwd, p); p != "" && err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return p
}

// summary counts the tests by outcome.
func (r *report) summary() string {
	var parts []string
	for _, o := range []result.Outcome{result.Pass, result.Fail, result.NotGraded, result.Broken} {
		if n := r.counts[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// indent shifts a message and cuts its lines to the width.
func indent(message string, columns int) string {
	lines := strings.Split(message, "\n")
	for i, l := range lines {
		lines[i] = "    " + text.Trim(l, columns-4)
	}
	return strings.Join(lines, "\n")
}
