package measure

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"virtlab/harness/sysbench"
)

// line is one line of measurements on its way into the table.
type line struct {
	*csvReader
	rec      record
	own      map[Fact]Stated // facts of this line
	vmm      string
	cell     Cell
	repeat   int
	metric   string
	unit     string
	testName string
	placed   map[key]*Row // a line without a repeat's number is one run
}

// describe reads what the line is about; false where it cannot be told, or is
// computed from others.
func (l *line) describe() bool {
	ok := true
	for i, c := range l.rec.cells {
		if i >= len(l.fields) || absent[fold(c)] {
			continue
		}
		f := l.fields[i]
		if f.fact != "" {
			l.own[f.fact] = Stated{strings.TrimSpace(c), l.pos(l.rec, i)}
		}
		if aggregates[fold(c)] && (f.column == colRepeat || f.column == colMetric && !metricName(c)) {
			return false
		}
		if f.column != "" {
			if err := l.part(f.column, c); err != nil {
				l.table.problem(l.pos(l.rec, i), "%s: %v", quote(f.header), err)
				ok = false
			}
		}
	}
	return ok
}

// metricName tells whether "mean" under "metric" is the latency, which has the
// name of an aggregate.
func metricName(c string) bool { _, ok := metrics[fold(c)]; return ok }

func (l *line) part(col column, text string) error {
	switch col {
	case colVMM:
		l.vmm = vmmName(text)
	case colTest:
		l.testName = text
		t, known := testOf(text)
		if !known {
			return fmt.Errorf("%s is no test of the course: write boot, footprint, cpu, memory or fileio", quote(text))
		}
		l.cell.Test = t
	case colMetric:
		l.metric = text
	case colUnit:
		l.unit = text
	case colRepeat:
		n, ok := repeatOf(fold(text))
		if bare, err := countOf(text); err == nil {
			n, ok = bare, true
		}
		if !ok {
			return fmt.Errorf("%s is no repeat: write 1, 2, ...", quote(text))
		}
		l.repeat = n
	case colValue:
	default:
		_, err := l.cell.set(col, text)
		return err
	}
	return nil
}

// take reads the values of the line.
func (l *line) take() {
	found := 0
	for i, c := range l.rec.cells {
		if i >= len(l.fields) || l.fields[i].value == nil || l.fields[i].value.Metric == unused || absent[fold(c)] {
			continue
		}
		found++
		if !l.value(i, c, *l.fields[i].value) {
			return
		}
	}
	if found == 0 {
		l.table.note("%s:%d: the line has no value", l.file, l.rec.line)
	}
}

// value reads one cell; false where the whole line makes no sense.
func (l *line) value(i int, text string, f valueField) bool {
	pos := l.pos(l.rec, i)
	m := f.meaning
	unitText := f.unit
	if m.Metric == "" {
		var ok bool
		if m, unitText, ok = l.named(f.unit); !ok {
			l.table.problem(pos, "it is not said what %s measures: add a column \"metric\" (boot time, RSS, events/s, IOPS, throughput, latency)", quote(text))
			return false
		}
		if m.Metric == unused {
			return true
		}
	}
	row, err := l.row(m.Metric, f)
	if err != nil {
		l.table.problem(Pos{File: pos.File, Line: pos.Line}, "%v", err)
		return false
	}
	l.put(row, m, text, unitText, i)
	return true
}

// named is the metric and unit of a line with columns for them, or those that
// its test has only one of.
func (l *line) named(unitText string) (m meaning, u string, ok bool) {
	if unitText == "" {
		unitText = l.unit
	}
	if l.metric == "" {
		t := l.test("")
		only, ok := map[Test]Metric{Boot: BootTime, Footprint: RSS}[t]
		return meaning{Metric: only}, unitText, ok
	}
	name := fold(l.metric)
	if m, ok := metrics[name]; ok {
		if unitText == "" {
			unitText = unitIn(name)
		}
		return m, unitText, true
	}
	bare, own := cutUnit(name)
	if unitText == "" {
		unitText = own
	}
	m, ok = metrics[bare]
	return m, unitText, ok
}

// test is the test that the line is of, with a look at the metric where the
// line does not say.
func (l *line) test(m Metric) Test {
	if l.cell.Test != "" {
		return l.cell.Test
	}
	stated, ok := l.stated.get("", statedOne)
	if t, _ := testOf(stated.Text); ok && l.testName == "" && t != "" {
		return t
	}
	switch {
	case m == BootTime:
		return Boot
	case slices.Contains([]Metric{RSS, Virtual, PSS, USS}, m):
		return Footprint
	case l.testName != "" && (l.cell.Block > 0 || l.cell.Threads > 0 || m == Rate || m == Throughput):
		return Memory // "memory" can be only one of two
	case l.testName != "":
		return Footprint
	}
	return ""
}

// row is where a value belongs.
func (l *line) row(m Metric, f valueField) (*Row, error) {
	cell := l.cell
	if cell.Test = l.test(m); cell.Test == "" {
		return nil, errors.New("it is not said of which test this is: add a column \"test\" (boot, footprint, cpu, memory, fileio)")
	}
	cell.defaults()
	if what := cell.missing(); len(what) > 0 {
		return nil, fmt.Errorf("the %s test does not say %s: add the column", cell.Test, strings.Join(what, " and "))
	}
	vmm := firstOf(f.vmm, l.vmm)
	if s, ok := l.stated.get("", statedVMM); ok && vmm == "" {
		vmm = vmmName(s.Text)
	}
	if vmm == "" {
		return nil, errors.New("it is not said of which VMM this is: add a column \"vmm\", or name the file after it")
	}
	return l.place(vmm, cell, m, max(f.repeat, l.repeat)), nil
}

func firstOf(s ...string) string {
	for _, each := range s {
		if each != "" {
			return each
		}
	}
	return ""
}

// place finds the row for a value of a cell, or makes it. Without a repeat's
// number a line is a run of its own, except that lines of one metric each add
// up to runs.
func (l *line) place(vmm string, cell Cell, m Metric, repeat int) *Row {
	facts := l.stated.of(vmm)
	for f, s := range l.own {
		facts[f] = s
	}
	k := key{vmm, facts[Machine].Text, cell}
	if repeat == 0 {
		if row := l.placed[k]; row != nil {
			return row
		}
		repeat = l.next(k, m)
	}
	row := l.rows[csvKey{k, repeat}]
	if row == nil {
		row = &Row{Pos: Pos{File: l.file, Line: l.rec.line}, VMM: vmm, Cell: cell, Repeat: repeat, Values: map[Metric]Value{}, Facts: facts}
		l.rows[csvKey{k, repeat}] = row
		l.table.Rows = append(l.table.Rows, row)
		l.count[k] = max(l.count[k], repeat)
	}
	l.placed[k] = row
	return row
}

// next is the repeat that a line without a number is.
func (l *line) next(k key, m Metric) int {
	if l.metric == "" {
		return l.count[k] + 1
	}
	l.seen[metricKey{k, m}]++
	return l.seen[metricKey{k, m}]
}

// put reads a value into its row.
func (l *line) put(row *Row, m meaning, text, unitText string, i int) {
	pos, header := l.pos(l.rec, i), quote(l.fields[i].header)
	if row.Cell.Test == Boot && m.Metric == Duration {
		m.Metric = BootTime
	}
	n, digits, own, err := l.convention.parse(text)
	if err != nil {
		l.table.problem(pos, "%s: %v", header, err)
		return
	}
	u, err := l.unitOf(m.Metric, firstOf(own, unitText))
	if err != nil {
		l.table.problem(pos, "%s: %s: %v", header, quote(text), err)
		return
	}
	if n.Value > 0 {
		l.store(row, m, Value{Number: precise(m.Metric, row.Cell.Test, scale(n, u)), Text: digits, Unit: u, Pos: pos})
		return
	}
	if m.Dir == "" || m.Dir == row.Cell.Op { // reads of a write test are none
		l.table.problem(pos, "%s: 0 %s: a run that did nothing is no measurement; repeat it", header, m.Metric.name(row.Cell.Test))
	}
}

// store keeps a value. What fileio prints for reads and writes apart adds up.
func (l *line) store(row *Row, m meaning, v Value) {
	old, twice := row.Values[m.Metric]
	switch {
	case m.Dir != "" && row.Cell.Op != Mixed && m.Dir != row.Cell.Op:
		l.table.problem(v.Pos, "%s of a %s test is %s: one of the two is wrong", m.Dir, row.Cell.Mode(), v)
		return
	case twice && m.Dir != "" && row.Cell.Op == Mixed:
		v.Number = sysbench.Number{Value: old.Value + v.Value, Half: old.Half + v.Half}
	case twice:
		l.table.problem(v.Pos, "%s has its %s in line %d already: number the repeats, or remove one", row, m.Metric.name(row.Cell.Test), old.Pos.Line)
		return
	}
	row.Values[m.Metric] = v
}

// unitOf finds the unit of a value; without any it is the one that the course's
// tools print.
func (l *line) unitOf(m Metric, text string) (unit, error) {
	if text == "" {
		u := usual(m)
		if m != Rate && m != Events && !l.guessed[m] {
			l.csvReader.guessed[m] = true
			l.table.note("%s: no unit for %s, taken for %s", l.file, m, u.name)
		}
		return u, nil
	}
	u, ok := parseUnit(text, dimensions[m])
	if !ok {
		if other, known := parseUnit(text, ""); known {
			return u, fmt.Errorf("%s measures %s, but %s is %s", quote(text), other.dim, m, dimensions[m])
		}
		return u, fmt.Errorf("unknown unit %s: write s, ms, KiB, MiB, MiB/s, /s", quote(text))
	}
	return u, nil
}
