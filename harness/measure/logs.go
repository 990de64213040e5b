package measure

import (
	"regexp"
	"strings"

	"virtlab/harness/sysbench"
)

var (
	// command is a sysbench command line in a terminal's log.
	command = regexp.MustCompile(`(?m)^.*[$#>] *(?:sudo )?sysbench\s+(.*\srun)\s*$`)
	// noRun is what the other phases of fileio print.
	noRun  = regexp.MustCompile(`(?m)^(Creating files for the test|Removing test files)`)
	option = regexp.MustCompile(`--([a-z0-9-]+)=(\S+)`)
)

// readSysbench reads what sysbench itself printed, run after run, with the
// command lines where the terminal's log has them: the access mode of the memory
// test stands nowhere else. The VMM is named by the file or by a line "# vmm:
// NAME".
func readSysbench(t *Table, name, text string) {
	stated := fromName(name)
	last := map[key]int{}
	for _, run := range runsIn(text) {
		pos := Pos{File: name, Line: run.line}
		run.comments(&stated, pos)
		if noRun.MatchString(run.output) {
			continue
		}
		row, why := sysbenchRow(run.output, options(run.lead), stated, pos)
		if row == nil {
			t.problem(pos, "%s", why)
			continue
		}
		row.Repeat = last[row.key()] + 1
		last[row.key()] = row.Repeat
		t.Rows = append(t.Rows, row)
	}
}

// logged is the output of one sysbench, and what stands before it.
type logged struct {
	lead, output string
	line         int
}

func runsIn(text string) (runs []logged) {
	starts := sysbenchLine.FindAllStringIndex(text, -1)
	before, line := 0, 1
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		line += strings.Count(text[before:s[0]], "\n")
		runs = append(runs, logged{lead: text[before:s[0]], output: text[s[0]:end], line: line})
		before = s[0]
	}
	return runs
}

// comments are the facts in lines above a run.
func (l logged) comments(stated *facts, pos Pos) {
	for line := range strings.Lines(l.lead) {
		if k, v, ok := strings.Cut(strings.TrimLeft(line, "# "), ":"); ok && strings.HasPrefix(line, "#") {
			stated.set(k, strings.TrimSpace(v), pos)
		}
	}
}

// options are those of the last sysbench command in the text before a run, with
// the defaults that matter; none where there is no command.
func options(lead string) map[string]string {
	found := command.FindAllStringSubmatch(lead, -1)
	if len(found) == 0 {
		return nil
	}
	out := map[string]string{"memory-access-mode": string(sysbench.Sequential)}
	for _, m := range option.FindAllStringSubmatch(found[len(found)-1][1], -1) {
		out[m[1]] = m[2]
	}
	return out
}

// sysbenchRow is one run of sysbench; why it is none where it is nil.
func sysbenchRow(output string, opts map[string]string, stated facts, pos Pos) (row *Row, why string) {
	vmm, ok := stated.get("", statedVMM)
	if !ok {
		return nil, "sysbench's output does not say on which VMM it ran: name the file after it (stratovirt.txt), or put a line \"# vmm: stratovirt\" above the run"
	}
	row = &Row{Pos: pos, VMM: vmmName(vmm.Text), Values: map[Metric]Value{}}
	row.Facts = stated.of(row.VMM)
	var err error
	switch {
	case strings.Contains(output, "CPU speed:"):
		err = row.fromCPU(output)
	case strings.Contains(output, "memory speed test"):
		err = row.fromMemory(output, opts)
	case strings.Contains(output, "File operations:"):
		err = row.fromFileIO(output)
	default:
		return nil, "this run of sysbench has no result: it is cut off, failed, or is none of cpu, memory and fileio"
	}
	if err != nil {
		return nil, err.Error()
	}
	row.Cell.defaults()
	if what := row.Cell.missing(); len(what) > 0 {
		return nil, "sysbench's output does not say " + strings.Join(what, " and ") + ": keep the command line above it"
	}
	return row, ""
}

func (r *Row) fromCPU(output string) error {
	res, err := sysbench.ParseCPU(output)
	r.Cell = Cell{Test: CPU, Threads: res.Threads}
	r.put(Rate, res.EventsPerSecond, 1)
	r.put(Mean, res.Latency.AvgMS, 1e-3)
	return err
}

func (r *Row) fromMemory(output string, opts map[string]string) error {
	res, err := sysbench.ParseMemory(output)
	access, _ := pattern(opts["memory-access-mode"])
	r.Cell = Cell{Test: Memory, Threads: res.Threads, Block: res.BlockKiB * sysbench.KiB, Op: res.Op, Scope: res.Scope, Access: access}
	r.put(Rate, res.OperationsPerSecond, 1)
	r.put(Throughput, res.MiBPerSecond, sysbench.MiB)
	return err
}

func (r *Row) fromFileIO(output string) error {
	res, err := sysbench.ParseFileIO(output)
	access, op := pattern(string(res.Mode))
	r.Cell = Cell{Test: FileIO, Threads: res.Threads, Block: res.BlockBytes, Access: access, Op: op}
	r.put(Rate, res.IOPS(), 1)
	r.put(Throughput, res.MiBPerSecond(), sysbench.MiB)
	r.put(Mean, res.Latency.AvgMS, 1e-3)
	r.put(P95, res.Latency.P95MS, 1e-3)
	r.state(DataSet, sizeText(res.TotalBytes))
	if strings.Contains(res.Flags, "directio") {
		r.state(Direct, "on")
	} else {
		r.state(Direct, "off")
	}
	return err
}

// state notes what the output itself says.
func (r *Row) state(f Fact, text string) {
	if r.Facts == nil {
		r.Facts = Facts{}
	}
	r.Facts[f] = Stated{text, r.Pos}
}

// put takes over a number with two decimals, unless it was rounded to nothing.
func (r *Row) put(m Metric, value, factor float64) {
	if value == 0 {
		return
	}
	u := usual(m)
	r.Values[m] = Value{Number: scale(sysbench.TwoDecimals(value), unit{factor: factor}), Text: format(value), Unit: u, Pos: r.Pos}
}
