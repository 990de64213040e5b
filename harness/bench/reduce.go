package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"virtlab/harness/job"
	"virtlab/harness/shot"
	"virtlab/harness/sysbench"
)

// totalExits is KVM's counter of all VM exits.
const totalExits = "exits"

// reduce takes the numbers of a run out of what was seen: a Result without the
// Run. A run counts if its VMM did all that was asked; a cell of it whose output
// is refused has no numbers.
func reduce(run Run, o *shot.Outcome) Result {
	var r Result
	if err := r.take(run, o); err != nil {
		r = Result{Fault: err.Error()}
	}
	return r
}

// take fills the Result. The error says why the run measured nothing.
func (r *Result) take(run Run, o *shot.Outcome) error {
	switch {
	case o.Fault != "":
		return errors.New(o.Fault)
	case o.Done == 0:
		return errors.New("the guest did not say that it was done")
	}
	err := reducers[run.Part](r, run, o)
	if err != nil {
		return err
	}
	for _, s := range r.Samples {
		if !(s.Value >= 0 && s.Value < 1e300) { // NaN is not, either
			return fmt.Errorf("%s %s is %g, which no run has", s.Cell, s.Metric, s.Value)
		}
	}
	return nil
}

var reducers = map[Part]func(*Result, Run, *shot.Outcome) error{
	Boot: (*Result).boot, Debian: (*Result).debian,
	CPU: (*Result).cells, RAM: (*Result).cells, FileIO: (*Result).cells, Instructions: (*Result).counted,
}

// add keeps a number.
func (r *Result) add(cell, metric string, value float64) {
	r.Samples = append(r.Samples, Sample{Cell: cell, Metric: metric, Value: value})
}

// boot reads when what was seen, and the VMM's memory.
func (r *Result) boot(_ Run, o *shot.Outcome) error {
	if o.Init <= 0 || o.Up < o.Init {
		return fmt.Errorf("the marker was seen after %v and the job's first word after %v: the console was not read in order", o.Init, o.Up)
	}
	if o.Memory == nil {
		return fmt.Errorf("the VMM's memory was not read: %s", strings.Join(o.Missing, "; "))
	}
	up, err := frame[job.Up](o, job.FrameUp)
	if err != nil {
		return err
	}
	marker, err := frame[job.Marker](o, job.FrameMarker)
	if err != nil {
		return err
	}
	// A guest whose clock runs ahead of ours has no start that is known outside.
	if start := o.Init - up.InitBoottime; up.InitBoottime > 0 && start > 0 {
		r.add("", "kernel-sec", start.Seconds())
	}
	r.add("", "init-sec", o.Init.Seconds())
	r.add("", "up-sec", o.Up.Seconds())
	r.add("", "marker-sec", marker.Took.Seconds())
	if o.CPU > 0 {
		r.add("", "vmm-cpu-sec", o.CPU.Seconds())
	}
	if n, ok := exitsBetween(nil, o.Exits); ok {
		r.add("", "boot-exits", n)
	}
	r.footprint(*o.Memory)
	return nil
}

// footprint is the memory of a VMM's process.
func (r *Result) footprint(m shot.Memory) {
	for _, s := range []struct {
		metric string
		bytes  int64
	}{
		{"virtual-B", m.Guest.Virtual + m.Own.Virtual}, {"rss-B", m.Guest.RSS + m.Own.RSS},
		{"pss-B", m.Guest.PSS + m.Own.PSS}, {"uss-B", m.Guest.USS + m.Own.USS},
		{"guest-rss-B", m.Guest.RSS}, {"own-virtual-B", m.Own.Virtual}, {"own-rss-B", m.Own.RSS},
		{"own-pss-B", m.Own.PSS}, {"own-uss-B", m.Own.USS},
	} {
		r.add("", s.metric, float64(s.bytes))
	}
}

// debian reads how long systemd took, by the clock outside and by its own.
func (r *Result) debian(_ Run, o *shot.Outcome) error {
	up, err := frame[job.Up](o, job.FrameUp)
	if err != nil {
		return err
	}
	said, err := frame[job.Systemd](o, job.FrameSystemd)
	if err != nil {
		return err
	}
	own, err := ParseStartup(said.Analyze)
	if err != nil {
		return err
	}
	r.Analyze = said.Analyze
	// systemd prints no marker: its start is its age at the up frame ago.
	init := o.Up - (up.Boottime - said.Userspace)
	if said.Userspace <= 0 || up.Boottime < said.Userspace || init <= 0 {
		return fmt.Errorf("systemd began %v and multi-user %v after the kernel, and the VMM %v before that: the clocks do not fit", said.Userspace, up.Boottime, o.Up)
	}
	r.add("", "init-sec", init.Seconds())
	r.add("", "multi-user-sec", o.Up.Seconds())
	r.add("", "systemd-kernel-sec", own.Kernel.Seconds())
	r.add("", "systemd-userspace-sec", own.Userspace.Seconds())
	return nil
}

// counted reads executed instructions.
func (r *Result) counted(run Run, o *shot.Outcome) error {
	if o.ICount <= 0 {
		return errors.New("no instructions were counted until the job's start: does the VMM run with -icount?")
	}
	r.add("", "boot-instructions", float64(o.ICount))
	return r.eachCell(run, o, func(c observed, f figures) error {
		executed := c.end.ICount - c.begin.ICount
		if executed <= 0 {
			return errors.New("no instructions were counted")
		}
		r.add(c.output.Cell, "instructions/op", float64(executed)/f.ops)
		return nil
	})
}

// cells reads what sysbench said of each cell.
func (r *Result) cells(run Run, o *shot.Outcome) error {
	return r.eachCell(run, o, func(c observed, f figures) error {
		for _, s := range f.samples {
			r.add(c.output.Cell, s.Metric, s.Value)
		}
		if n, ok := exitsBetween(c.begin.Exits, c.end.Exits); ok && c.begin.Exits != nil {
			r.add(c.output.Cell, "exits/op", n/f.ops)
		}
		return nil
	})
}

// eachCell gives the figures of the run's cells to keep. What is refused is kept
// as such; a run of which all is refused is at fault.
func (r *Result) eachCell(run Run, o *shot.Outcome, keep func(observed, figures) error) error {
	var first error
	for _, name := range run.Cells {
		if err := readCell(run.Part, name, o, keep); err != nil {
			if r.Refused == nil {
				r.Refused = map[string]string{}
			}
			r.Refused[name] = err.Error()
			first = cmp.Or(first, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(r.Refused) == len(run.Cells) {
		return first
	}
	return nil
}

func readCell(part Part, name string, o *shot.Outcome, keep func(observed, figures) error) error {
	c, err := cellOf(part, name)
	if err != nil {
		return err
	}
	seen, err := observe(name, o)
	if err != nil {
		return err
	}
	f, err := c.read(seen.output.Text)
	if err != nil {
		return err
	}
	if f.ops <= 0 {
		return sysbench.ErrNothingDone
	}
	return keep(seen, f)
}

// observed is what was seen of a cell.
type observed struct {
	begin, end shot.Frame
	output     job.Output
}

// observe finds a cell's frames.
func observe(name string, o *shot.Outcome) (c observed, err error) {
	found := 0
	for _, f := range o.Frames {
		switch {
		case f.Name == job.FrameBegin && string(f.Data) == name:
			c.begin = f
		case f.Name == job.FrameEnd && string(f.Data) == name:
			c.end = f
		case f.Name == job.FrameOutput:
			var out job.Output
			if err := json.Unmarshal(f.Data, &out); err != nil {
				return c, fmt.Errorf("the output frame at %v: %w", f.At, err)
			}
			if out.Cell == name {
				c.output = out
				found++
			}
		}
	}
	switch {
	case found != 1 || c.begin.Name == "" || c.end.Name == "":
		return c, fmt.Errorf("the guest gave %d outputs of it, expected one between a begin and an end", found)
	case c.output.Status != 0:
		return c, fmt.Errorf("sysbench ended with status %d: %s", c.output.Status, lastLines(c.output.Text))
	}
	return c, nil
}

// frame decodes the one frame of a name.
func frame[T any](o *shot.Outcome, name string) (content T, err error) {
	i := slices.IndexFunc(o.Frames, func(f shot.Frame) bool { return f.Name == name })
	if i < 0 {
		return content, fmt.Errorf("the guest sent no %s frame", name)
	}
	if err := json.Unmarshal(o.Frames[i].Data, &content); err != nil {
		return content, fmt.Errorf("the guest's %s frame: %w", name, err)
	}
	return content, nil
}

// exitsBetween are the VM exits from one reading of KVM's counters to another;
// ok is false if they could not be read.
func exitsBetween(from, to *shot.Exits) (n float64, ok bool) {
	if to == nil {
		return 0, false
	}
	last, ok := (*to)[totalExits]
	if from != nil {
		last -= (*from)[totalExits]
	}
	return float64(last), ok && last >= 0
}

// lastLines is the end of what a program printed, on one line.
func lastLines(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
