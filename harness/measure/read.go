package measure

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"virtlab/harness/sysbench"
)

// MaxBytes is how large a file of measurements may be. The course's tables take
// some kilobytes, sysbench's own output of all runs some hundred.
const MaxBytes = 4 << 20

var (
	goLine       = regexp.MustCompile(`(?m)^Benchmark\S+\s+[0-9]`)
	sysbenchLine = regexp.MustCompile(`(?m)^sysbench [0-9]+\.[0-9]\S* \(`)
)

// Read reads the text of a file in any of the formats. Whatever cannot be read
// is a problem in the table, with its line and what to do about it.
func Read(name, text string) *Table {
	t := &Table{}
	text = strings.TrimPrefix(text, "\ufeff")
	switch {
	case len(text) > MaxBytes:
		t.problem(Pos{File: name}, "it has %d MiB, more than the %d MiB that are read: hand in the table, not what it was made from", len(text)>>20, MaxBytes>>20)
	case strings.TrimSpace(text) == "":
		t.problem(Pos{File: name}, "it is empty")
	case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
		t.problem(Pos{File: name}, "it is not text: export the sheet as CSV in UTF-8")
	case goLine.MatchString(text):
		readGo(t, name, text)
	case sysbenchLine.MatchString(text):
		readSysbench(t, name, text)
	default:
		readCSV(t, name, text)
	}
	return t
}

// defaults fills in what a table need not say: the course measures memory with
// four threads, and sysbench writes to memory that the threads share.
func (c *Cell) defaults() {
	switch c.Test {
	case Boot, Footprint:
		*c = Cell{Test: c.Test}
	case CPU:
		*c = Cell{Test: CPU, Threads: c.Threads}
	case Memory:
		if c.Threads == 0 {
			c.Threads = memoryThreads
		}
		if c.Op == "" {
			c.Op = sysbench.Write
		}
		if c.Scope == "" {
			c.Scope = sysbench.Global
		}
	case FileIO:
		c.Scope = ""
	}
}

// memoryThreads is what the course fixes for the memory test.
const memoryThreads = 4

// missing says what a cell does not tell and has to.
func (c Cell) missing() (what []string) {
	need := func(ok bool, name string) {
		if !ok {
			what = append(what, name)
		}
	}
	switch c.Test {
	case CPU:
		need(c.Threads > 0, "the number of threads")
	case Memory:
		need(c.Block > 0, "the block size")
		need(c.Access != "", "the access mode (seq or rnd)")
	case FileIO:
		need(c.Threads > 0, "the number of threads")
		need(c.Block > 0, "the block size")
		need(c.Access != "" && c.Op != "", "the mode (rndrd, rndwr, seqrd or seqwr)")
	}
	return what
}

// precise gives a number of a sysbench run the precision that sysbench prints,
// where it was written down with more digits.
func precise(m Metric, t Test, n sysbench.Number) sysbench.Number {
	if t == Boot || t == Footprint {
		return n
	}
	n.Half = max(n.Half, map[Metric]float64{
		Rate: 0.005, Throughput: 0.005 * sysbench.MiB, Mean: 0.005e-3, P95: 0.005e-3, Total: 0.005 * sysbench.MiB, Duration: 0.00005,
	}[m])
	return n
}

// scale turns a number in some unit into one in the base unit.
func scale(n sysbench.Number, u unit) sysbench.Number {
	return sysbench.Number{Value: n.Value * u.factor, Half: n.Half * u.factor}
}

// facts are the facts that hold for a line: those of lines above it, a line for
// one VMM before one for all.
type facts struct {
	all map[string]Stated // by "memory" or "qemu.memory"
}

// maxFacts is more than a file has to say.
const maxFacts = 100

// set notes what a line "key: value" says; it tells whether it says something
// of use.
func (f *facts) set(keyText, value string, pos Pos) bool {
	vmm, name, of := cutLast(keyText, ".")
	if !of {
		vmm, name = "", keyText
	}
	fact, ok := factOf(name)
	if !ok || value == "" || len(f.all) >= maxFacts {
		return false
	}
	if f.all == nil {
		f.all = map[string]Stated{}
	}
	f.all[scoped(vmm, fact)] = Stated{value, pos}
	return true
}

func factOf(name string) (Fact, bool) {
	if fact, ok := factNames[fold(name)]; ok {
		return fact, true
	}
	fact, ok := factLines[fold(name)]
	return fact, ok
}

func scoped(vmm string, f Fact) string { return vmmName(vmm) + "." + string(f) }

// of are the facts for a row of a VMM.
func (f *facts) of(vmm string) Facts {
	out := Facts{}
	for _, fact := range []Fact{Machine, GuestRAM, VCPUs, Kernel, Accel, DataSet, Direct, RunTime} {
		if s, ok := f.get(vmm, fact); ok {
			out[fact] = s
		}
	}
	return out
}

func (f *facts) get(vmm string, fact Fact) (Stated, bool) {
	if s, ok := f.all[scoped(vmm, fact)]; ok {
		return s, true
	}
	s, ok := f.all[scoped("", fact)]
	return s, ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// fromName are the facts that a file's name states: stratovirt-cpu.csv.
func fromName(file string) (f facts) {
	base := vmmName(strings.TrimSuffix(file[strings.LastIndexAny(file, "/\\")+1:], ".csv"))
	if vmm := vmmWords.FindString(base); vmm != "" {
		f.set(string(statedVMM), vmm, Pos{File: file})
	}
	for _, word := range strings.FieldsFunc(base, func(r rune) bool { return r == '-' || r == '.' }) {
		if t, ok := testNames[word]; ok {
			f.set(string(statedOne), string(t), Pos{File: file})
		}
	}
	return f
}
