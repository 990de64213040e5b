package measure

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/perf/benchfmt"

	"virtlab/harness/sysbench"
)

// goTests are the benchmarks of the comparison lab (labs/bench_test.go).
var goTests = map[string]Test{"Boot": Boot, "Memory": Footprint, "SysbenchCPU": CPU, "SysbenchMemory": Memory, "SysbenchFileIO": FileIO}

// goMetrics are the benchmarks' metrics by benchfmt's tidied unit.
var goMetrics = map[string]Metric{
	"sec/op": BootTime, "init-sec": BootTime, "virtual-B": Virtual, "rss-B": RSS, "pss-B": PSS, "uss-B": USS,
	"ops/s": Rate, "events/s": Rate, "B/s": Throughput, "mean-sec": Mean, "p95-sec": P95,
	"kernel-sec": unused, "up-sec": unused, "vmm-cpu-sec": unused, "marker-sec": unused, "boot-exits": unused, "exits/op": unused,
	"own-B": unused, "guest-rss-B": unused, "own-virtual-B": unused, "own-rss-B": unused, "own-pss-B": unused, "own-uss-B": unused,
}

// readGo reads the Go benchmark format
// (https://go.dev/design/14313-benchmark-format) as virtlab prints it: the VMM
// and the cell are in the benchmark's name.
func readGo(t *Table, name, text string) {
	r := goReader{table: t, file: name, lines: strings.Split(text, "\n"), last: map[key]int{}}
	in := benchfmt.NewReader(strings.NewReader(text), name)
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.Result:
			r.result(rec)
		case *benchfmt.SyntaxError:
			t.problem(Pos{File: name, Line: rec.Line}, "%s: copy the line as go test printed it", rec.Msg)
		}
	}
	if err := in.Err(); err != nil {
		t.problem(Pos{File: name}, "%v", errors.Unwrap(err))
	}
}

type goReader struct {
	table *Table
	file  string
	lines []string
	last  map[key]int // repeats so far
}

func (r *goReader) result(res *benchfmt.Result) {
	_, line := res.Pos()
	pos := Pos{File: r.file, Line: line}
	base, parts := res.Name.Parts()
	if bytes.Contains(res.Name, []byte("/side=twin")) {
		return // the A/A comparison: a VMM and itself
	}
	test, ok := goTests[string(base)]
	if !ok {
		r.table.note("%s: Benchmark%s is not one of the course's tables", pos, base)
		return
	}
	row := &Row{Pos: pos, Cell: Cell{Test: test}, Values: map[Metric]Value{}}
	stated := r.facts(res, pos)
	if err := row.name(parts, &stated); err != nil {
		r.table.problem(pos, "Benchmark%s: %v", quote(res.Name.String()), err)
		return
	}
	row.Facts = stated.of(row.VMM)
	r.values(row, res)
	if len(row.Values) == 0 {
		return
	}
	row.Repeat = r.last[row.key()] + 1
	r.last[row.key()] = row.Repeat
	r.table.Rows = append(r.table.Rows, row)
}

// facts are those of the configuration lines above a result.
func (r *goReader) facts(res *benchfmt.Result, pos Pos) (f facts) {
	for _, c := range res.Config[:min(maxFacts, len(res.Config))] {
		f.set(c.Key, string(c.Value), Pos{File: pos.File})
	}
	return f
}

// name reads the parts of a benchmark's name.
func (r *Row) name(parts [][]byte, stated *facts) error {
	on := ""
	for _, part := range parts {
		key, value, ok := strings.Cut(strings.TrimPrefix(string(part), "/"), "=")
		if !ok {
			continue // "-2": GOMAXPROCS
		}
		if key == "vmm" {
			r.VMM = vmmName(value)
			continue
		}
		if key == "on" {
			on = otherMachine(value)
			continue
		}
		if known, err := r.Cell.set(columns[fold(key)], value); err != nil {
			return err
		} else if !known && !stated.set(r.VMM+"."+key, value, r.Pos) {
			return fmt.Errorf("%s is neither part of a cell nor a known setting", quote(key))
		}
	}
	if s, ok := stated.get("", statedVMM); ok && r.VMM == "" {
		r.VMM = vmmName(s.Text)
	}
	if r.VMM == "" {
		return errors.New("it does not say of which VMM: the name needs /vmm=NAME, or a line \"vmm: NAME\" above it")
	}
	r.VMM += on
	r.Cell.defaults()
	if what := r.Cell.missing(); len(what) > 0 {
		return fmt.Errorf("the name does not say %s", strings.Join(what, " and "))
	}
	return nil
}

// otherMachine is what a VMM's name gets where it did not run on the host: the
// same VMM on L1 is another side of the comparison.
func otherMachine(on string) string {
	if on == "host" {
		return ""
	}
	return "@" + vmmName(on)
}

// values takes over the metrics. The digits come from the line itself: benchfmt
// gives numbers, which do not tell how they were rounded.
func (r *goReader) values(row *Row, res *benchfmt.Result) {
	fields := strings.Fields(r.lines[row.Pos.Line-1])
	for i, v := range res.Values {
		digits, unitText := fields[2+2*i], fields[3+2*i]
		metric, ok := goMetrics[v.Unit]
		if !ok {
			r.table.note("%s: the metric %s is not looked at", row.Cell.Test, quote(unitText))
			continue
		}
		if metric == unused {
			continue
		}
		n, err := point.number(digits)
		if err != nil || n.Value == 0 {
			r.table.problem(row.Pos, "%s is %s %s: a run that did nothing is no measurement", row, quote(digits), quote(unitText))
			continue
		}
		u := unit{name: shownUnit(unitText), dim: dimensions[metric], factor: 1}
		if v.OrigUnit != "" {
			u.factor = v.Value / v.OrigValue
		}
		row.Values[metric] = Value{Number: precise(metric, row.Cell.Test, scale(n, u)), Text: digits, Unit: u, Pos: row.Pos}
	}
}

// shownUnit is a benchmark's unit in a message: "s" for "mean-sec".
func shownUnit(text string) string {
	text = strings.TrimSuffix(text[strings.LastIndex(text, "-")+1:], "/op")
	if text == "sec" {
		return "s"
	}
	return text
}

// set takes over a part of a cell's description; known is false for parts that
// cells do not have.
func (c *Cell) set(col column, text string) (known bool, err error) {
	switch col {
	case colThreads:
		c.Threads, err = countOf(text)
	case colBlock:
		c.Block, err = blockOf(text)
	case colMode, colAccess, colOp:
		access, op := pattern(text)
		if access == "" && op == "" {
			return true, fmt.Errorf("%s is no mode: write one of rndrd, rndwr, seqrd, seqwr (fileio) or seq, rnd (memory)", quote(text))
		}
		if access != "" {
			c.Access = access
		}
		if op != "" {
			c.Op = op
		}
	case colScope:
		c.Scope = scopeOf(text)
	default:
		return false, nil
	}
	return true, err
}

// countOf reads a number of threads: "32", "32 threads", "32线程".
func countOf(text string) (int, error) {
	n, _, _, err := point.parse(text)
	if err != nil || n.Value < 1 || n.Value > 1<<20 || n.Value != float64(int(n.Value)) {
		return 0, fmt.Errorf("%s is no number of threads: write 1, 4, 16, 32 or 64", quote(text))
	}
	return int(n.Value), nil
}

// blockOf reads a block size in bytes: "4k", "4 KiB", "4096". Its K is 1024
// whatever it is called, as in sysbench's options.
func blockOf(text string) (int64, error) {
	n, err := binarySize(text, 1)
	if err != nil || n < 1 || n > sysbench.GiB || n != float64(int64(n)) {
		return 0, fmt.Errorf("%s is no block size: write 1k, 4k, 128k", quote(text))
	}
	return int64(n), nil
}

// binarySize reads a size whose units are powers of 1024; bare is the factor of
// a number without a unit.
func binarySize(text string, bare float64) (float64, error) {
	n, _, name, err := point.parse(text)
	if err != nil || name == "" {
		return n.Value * bare, err
	}
	u, ok := parseUnit(name, inBytes)
	if !ok {
		return 0, fmt.Errorf("%s is no size", quote(text))
	}
	if u.binary != 0 {
		u.factor = u.binary
	}
	return n.Value * u.factor, nil
}
