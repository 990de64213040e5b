package bench

import (
	"fmt"
	"slices"
	"time"

	"virtlab/harness/job"
	"virtlab/harness/sysbench"
)

// DataDir is where the guest's jobs keep their files: on the disk that is
// measured.
const DataDir = "/lab/data"

// workload is what a cell does: a test of sysbench.
type workload interface {
	// job gives the cell without its name.
	job(time.Duration) (job.Cell, error)
	// read takes what sysbench printed apart. The error says why it is refused.
	read(output string) (figures, error)
}

// figures are what a run of sysbench says.
type figures struct {
	samples []Sample // without the cell's name
	ops     float64  // events, for figures per operation
}

// cell is a workload by its name in a part.
type cell struct {
	part Part
	name string
	workload
}

// cells are those of all matrices, in the course's order.
var cells = slices.Concat(cpuCells(), ramCells(), fileCells(), countedCells())

func cpuCells() (all []cell) {
	for _, c := range sysbench.CourseCPU() {
		all = append(all, cell{CPU, c.Name(), cpuLoad(c)})
	}
	return all
}

// ramCells are the course's in both scopes, as it does not say which is meant.
func ramCells() (all []cell) {
	for _, scope := range []sysbench.Scope{sysbench.Global, sysbench.Local} {
		for _, m := range sysbench.InScope(scope, sysbench.CourseMemory()) {
			all = append(all, cell{RAM, m.Name(), ramLoad(m)})
		}
	}
	return all
}

func fileCells() (all []cell) {
	for _, f := range sysbench.CourseFileIO() {
		all = append(all, cell{FileIO, f.Name(), fileLoad(f)})
	}
	return all
}

// countedCells are the first of the matrices that compute. How many instructions an
// operation takes depends on its kind, and hardly on the number of threads. Of
// fileio the count says nothing: while a request is under way, a guest whose clock
// counts instructions runs ahead and executes timer ticks (seen: 15 thousand to 3
// million an operation).
func countedCells() (all []cell) {
	for _, c := range []cell{cpuCells()[0], ramCells()[0]} {
		all = append(all, cell{Instructions, fmt.Sprintf("test=%s/%s", c.part, c.name), c.workload})
	}
	return all
}

// CellNames are the names of a part's cells in the course's order; none for a
// part without.
func CellNames(part Part) (names []string) {
	for _, c := range cells {
		if c.part == part {
			names = append(names, c.name)
		}
	}
	return names
}

// cellOf finds a cell.
func cellOf(part Part, name string) (cell, error) {
	i := slices.IndexFunc(cells, func(c cell) bool { return c.part == part && c.name == name })
	if i < 0 {
		return cell{}, fmt.Errorf("%s has no cell %q: the plan is of another version of virtlab", part, name)
	}
	return cells[i], nil
}

// Cells are the jobs of a run, of which each lasts that long.
func Cells(run Run, each time.Duration) ([]job.Cell, error) {
	var jobs []job.Cell
	for _, name := range run.Cells {
		c, err := cellOf(run.Part, name)
		if err != nil {
			return nil, err
		}
		j, err := c.job(each)
		if err != nil {
			return nil, fmt.Errorf("%s, cell %s: %w", run.Part, name, err)
		}
		j.Name = name
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// sysbenchJob is a run of sysbench in DataDir.
func sysbenchJob(test interface{ Args() ([]string, error) }) (job.Cell, error) {
	args, err := test.Args()
	if err != nil {
		return job.Cell{}, err
	}
	return job.Cell{Dir: DataDir, Run: append([]string{"sysbench"}, args...)}, nil
}

type cpuLoad sysbench.CPU

func (l cpuLoad) job(each time.Duration) (job.Cell, error) {
	l.Time = each
	return sysbenchJob(sysbench.CPU(l))
}

func (l cpuLoad) read(output string) (figures, error) {
	r, err := sysbench.CPU(l).Parse(output)
	if err != nil {
		return figures{}, err
	}
	return figures{ops: float64(r.Events), samples: []Sample{
		{Metric: "events/s", Value: r.EventsPerSecond},
		{Metric: "mean-sec", Value: r.MeanMS() / 1000},
	}}, nil
}

type ramLoad sysbench.Memory

func (l ramLoad) job(each time.Duration) (job.Cell, error) {
	l.Time = each
	return sysbenchJob(sysbench.Memory(l))
}

func (l ramLoad) read(output string) (figures, error) {
	r, err := sysbench.Memory(l).Parse(output)
	if err != nil {
		return figures{}, err
	}
	return figures{ops: float64(r.Operations), samples: []Sample{
		{Metric: "B/s", Value: r.MiBPerSecond * sysbench.MiB},
		{Metric: "ops/s", Value: r.OperationsPerSecond},
	}}, nil
}

type fileLoad sysbench.FileIO

// job makes the files first, as far as they are not there: a sequential write
// that ends by time leaves its files short.
func (l fileLoad) job(each time.Duration) (job.Cell, error) {
	l.Time = each
	prepare, err := sysbenchJob(sysbench.FileIO(l).At(sysbench.Prepare))
	if err != nil {
		return job.Cell{}, err
	}
	j, err := sysbenchJob(sysbench.FileIO(l))
	j.Prepare = [][]string{prepare.Run}
	return j, err
}

func (l fileLoad) read(output string) (figures, error) {
	r, err := sysbench.FileIO(l).Parse(output)
	if err != nil {
		return figures{}, err
	}
	return figures{ops: float64(r.Events), samples: []Sample{
		{Metric: "B/s", Value: r.MiBPerSecond() * sysbench.MiB},
		{Metric: "ops/s", Value: r.IOPS()},
		{Metric: "p95-sec", Value: r.Latency.P95MS / 1000},
	}}, nil
}
