package report

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/perf/benchfmt"

	"virtlab/harness/bench"
)

// benchName is a part in the Go benchmark format, as labs name their benchmarks.
var benchName = map[bench.Part]string{
	bench.Boot: "Boot", bench.Debian: "MultiUser", bench.CPU: "SysbenchCPU", bench.RAM: "SysbenchMemory",
	bench.FileIO: "SysbenchFileIO", bench.Instructions: "Instructions",
}

// GoBench writes what was measured in the Go benchmark format
// (https://go.dev/design/14313-benchmark-format), for benchstat -col /vmm: a
// line for each run and cell. Lines of the second side of the A/A comparison
// end in /side=twin. The configuration lines are the same for all contenders of
// a machine, as benchstat splits its tables by them.
func GoBench(w io.Writer, d *bench.Data) error {
	out := benchfmt.NewWriter(w)
	for _, m := range units() {
		if err := writeUnit(w, m); err != nil {
			return err
		}
	}
	for _, machine := range d.Plan.Machines() {
		if err := goBenchOn(w, out, view{d}, machine); err != nil {
			return err
		}
	}
	return nil
}

// units are the metrics, one of each unit.
func units() (all []bench.Metric) {
	seen := map[string]bool{}
	for _, m := range bench.Metrics {
		if !seen[m.Unit] {
			seen[m.Unit], all = true, append(all, m)
		}
	}
	return all
}

func writeUnit(w io.Writer, m bench.Metric) error {
	better := "lower"
	if m.Higher {
		better = "higher"
	}
	_, err := fmt.Fprintf(w, "Unit %s better=%s\n", m.Unit, better)
	return err
}

func goBenchOn(w io.Writer, out *benchfmt.Writer, v view, machine string) error {
	for _, c := range v.on(machine) {
		for _, part := range v.Plan.Parts() {
			if why := v.Missing(c, part); why != "" {
				if err := comment(w, bench.Run{VMM: c.VMM, On: c.On, Part: part}, "", "not measured: "+why); err != nil {
					return err
				}
			}
		}
	}
	for _, r := range v.Results {
		if r.Run.On != machine || r.Run.Block < 0 {
			continue
		}
		if err := goBenchRun(w, out, v, r); err != nil {
			return err
		}
	}
	return nil
}

// goBenchRun writes a line for each cell of a run, or why there is none.
func goBenchRun(w io.Writer, out *benchfmt.Writer, v view, r bench.Result) error {
	if r.Fault != "" {
		return comment(w, r.Run, "", "refused: "+r.Fault)
	}
	for _, cell := range v.Plan.Cells(r.Run.Part) {
		err := writeResult(out, v, r, cell)
		if why, refused := r.Refused[cell]; refused && err == nil {
			err = comment(w, r.Run, cell, "refused: "+why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// comment writes a line that readers of the format skip.
func comment(w io.Writer, r bench.Run, cell, text string) error {
	_, err := fmt.Fprintf(w, "# %s: %s\n", resultName(r, bench.Sample{Cell: cell}), oneLine(text))
	return err
}

// writeResult writes the numbers of a run's cell, if it has any.
func writeResult(out *benchfmt.Writer, v view, r bench.Result, cell string) error {
	// A boot's times and the memory after it are two benchmarks of the labs.
	var benchmarks []string
	values := map[string][]benchfmt.Value{}
	for _, s := range r.Samples {
		if s.Cell != cell {
			continue
		}
		name := resultName(r.Run, s)
		if values[name] == nil {
			benchmarks = append(benchmarks, name)
		}
		values[name] = append(values[name], benchfmt.Value{Value: s.Value, Unit: s.Metric})
	}
	for _, name := range benchmarks {
		line := &benchfmt.Result{Config: config(v, r.Run.On), Name: benchfmt.Name(name), Iters: 1, Values: values[name]}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// resultName is the benchmark that a sample belongs to.
func resultName(r bench.Run, s bench.Sample) string {
	name := benchName[r.Part]
	if r.Part == bench.Boot && strings.HasSuffix(s.Metric, "-B") {
		name = "Memory"
	}
	name += "/" + bench.Contender{VMM: r.VMM, On: r.On}.Name()
	if s.Cell != "" {
		name += "/" + s.Cell
	}
	if r.Twin {
		name += "/side=twin"
	}
	return name
}

// config is what holds for all results of a machine.
func config(v view, machine string) []benchfmt.Config {
	var all []benchfmt.Config
	set := func(key, value string) {
		if value != "" {
			all = append(all, benchfmt.Config{Key: key, Value: []byte(oneLine(value)), File: true})
		}
	}
	set("mode", string(v.Plan.Mode))
	set("seed", fmt.Sprint(v.Plan.Seed))
	set("cell-time", v.Plan.CellTime.String())
	set("on", machine)
	set("label", v.label(machine))
	return all
}

// oneLine keeps a text from becoming a line of its own, with a meaning.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
