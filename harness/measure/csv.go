package measure

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// readCSV reads a table with one header line. Its columns may come in any order;
// each metric can have a column of its own, or "metric", "unit" and "value" do.
func readCSV(t *Table, name, text string) {
	r := csvReader{table: t, file: name, stated: fromName(name),
		rows: map[csvKey]*Row{}, count: map[key]int{}, seen: map[metricKey]int{}, guessed: map[Metric]bool{}}
	records, err := r.records(text)
	if err != nil {
		t.problem(Pos{File: name}, "%v", err)
	}
	r.convention = conventionOf(numericCells(records))
	for _, rec := range records {
		r.record(rec)
	}
	switch {
	case r.fields == nil:
		t.problem(Pos{File: name}, "it is neither Go benchmark output, nor sysbench's, nor a table: no line names columns like vmm, test, threads, value (docs/measurements.md)")
	case r.above:
		t.note("%s: what stands above the first header is not looked at", name)
	}
}

// record is a line of the file: cells, or a comment that states a fact.
type record struct {
	line    int
	cells   []string
	comment string
}

type csvKey struct {
	key
	repeat int
}

type metricKey struct {
	key
	metric Metric
}

type csvReader struct {
	table      *Table
	file       string
	convention convention
	fields     []field
	above      bool // there are lines above the first header
	stated     facts
	rows       map[csvKey]*Row
	count      map[key]int       // repeats so far
	seen       map[metricKey]int // the same, where each metric has a line
	guessed    map[Metric]bool   // whose unit is not stated
}

// records takes the text apart.
func (r *csvReader) records(text string) (all []record, err error) {
	text, comma := separator(text)
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes, in.TrimLeadingSpace = comma, -1, true, comma != '\t'
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("it is no CSV: %w", err)
		}
		line, _ := in.FieldPos(0)
		rec := record{line: line, cells: cells}
		if first := strings.TrimSpace(cells[0]); strings.HasPrefix(first, "#") && strings.ContainsAny(first, ":：") {
			rec.comment = strings.TrimRight(strings.Join(cells, string(comma)), string(comma)+" ")
		}
		all = append(all, rec)
	}
}

// separator finds the one that splits the header into the most columns; Excel's
// "sep=;" says it. That line is left empty.
func separator(text string) (rest string, comma rune) {
	first, _, _ := strings.Cut(text, "\n")
	if s, ok := strings.CutPrefix(strings.TrimRight(first, "\r"), "sep="); ok && len(s) == 1 && strings.Contains(",;\t|", s) {
		return text[len(first):], rune(s[0])
	}
	comma = ','
	for _, c := range []rune{';', '\t', '|'} {
		if most(text, c) > most(text, comma) {
			comma = c
		}
	}
	return text, comma
}

// topLines are the lines among which the header is looked for.
const topLines = 20

// most is how often c stands in one of the first lines that are no comments.
func most(text string, c rune) (n int) {
	lines := 0
	for l := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		n = max(n, strings.Count(l, string(c)))
		if lines++; lines == topLines {
			break
		}
	}
	return n
}

// numericCells are what may be numbers, to find out how the file writes them.
func numericCells(records []record) (cells []string) {
	for _, rec := range records {
		if rec.comment == "" {
			cells = append(cells, rec.cells...)
		}
	}
	return cells
}

func (r *csvReader) pos(rec record, i int) Pos {
	return Pos{File: r.file, Line: rec.line, Column: i + 1}
}

// record takes a line over: a comment, a header, or what was measured.
func (r *csvReader) record(rec record) {
	switch {
	case rec.comment != "":
		r.comment(rec)
	case !slices.ContainsFunc(rec.cells, func(c string) bool { return strings.Trim(c, " -:\t") != "" }): // empty, or Markdown's rule
	case isHeader(rec.cells):
		r.header(rec)
	case r.fields == nil:
		r.above = true
	default:
		r.measured(rec)
	}
}

func (r *csvReader) comment(rec record) {
	name, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimLeft(rec.comment, "# "), "：", ":"), ":")
	r.stated.set(name, strings.TrimSpace(value), Pos{File: r.file, Line: rec.line})
}

func (r *csvReader) header(rec record) {
	r.fields = nil
	seen := map[string]bool{}
	for i, c := range rec.cells {
		f := parseHeader(c)
		name := fold(c)
		switch {
		case name == "" || aggregates[name] && f.value == nil:
			f = field{}
		case f.column == "" && f.fact == "" && f.value == nil:
			r.table.note("%s: the column %s is not looked at", r.pos(rec, i), quote(c))
		case seen[name]:
			r.table.problem(r.pos(rec, i), "there is a second column %s: give each a name of its own", quote(c))
			f = field{}
		}
		seen[name] = name != ""
		r.fields = append(r.fields, f)
	}
}

// measured takes a line of measurements over.
func (r *csvReader) measured(rec record) {
	if len(rec.cells) > len(r.fields) && slices.ContainsFunc(rec.cells[len(r.fields):], func(c string) bool { return strings.TrimSpace(c) != "" }) {
		r.table.problem(Pos{File: r.file, Line: rec.line}, "it has %d cells under %d headings: quote numbers with a comma, or separate with semicolons", len(rec.cells), len(r.fields))
		return
	}
	l := line{csvReader: r, rec: rec, own: map[Fact]Stated{}, placed: map[key]*Row{}}
	if l.describe() {
		l.take()
	}
}
