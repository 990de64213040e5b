package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Mode says how much is measured.
type Mode string

// The modes, by what they take for two VMMs on a host that emulates.
const (
	Quick   Mode = "quick"   // about 2 minutes: some cells of each matrix, 1 s each
	Default Mode = "default" // about 8 minutes: all cells, 1 s each
	Course  Mode = "course"  // about 25 minutes: all cells, 10 s each, twice
)

// Parts are all parts, in the order of the report.
var Parts = []Part{Boot, Debian, CPU, RAM, FileIO, Instructions}

// Options are what a plan is drawn from.
type Options struct {
	Mode       Mode // empty: Default
	Seed       uint64
	Contenders []Contender
	Parts      []Part        // nil: those of the mode
	CellTime   time.Duration // how long a cell runs, whole seconds; 0: the mode's
	Boots      int           // runs of Boot, 2 at least; 0: the mode's
	Samples    int           // runs of each cell, 2 at least; 0: the mode's
}

// amount is how much a mode measures.
type amount struct {
	parts     []Part
	cellTime  time.Duration
	runs      map[Part]int
	twinCells int // of a matrix that the twin runs
	// warmUps are the parts with a run that does not count before the others:
	// not Debian, whose boots are long.
	warmUps []Part
	cells   map[Part][]string // nil: all
}

// Six boots are the fewest of which a median has a 95 % interval, ten are what
// the course asks for. Two VMMs run 33 cells of 10 s twice in 22 minutes.
var amounts = map[Mode]amount{
	Quick: {
		parts: []Part{Boot, CPU, RAM, FileIO}, cellTime: time.Second, twinCells: 1, warmUps: []Part{Boot},
		runs: map[Part]int{Boot: 6, Debian: 2, CPU: 2, RAM: 2, FileIO: 2, Instructions: 2},
		cells: map[Part][]string{
			CPU:    {"threads=1", "threads=4"},
			RAM:    {"block=1k/access=seq/scope=global", "block=8k/access=rnd/scope=local"},
			FileIO: {"threads=1/block=4k/mode=rndrd", "threads=32/block=128k/mode=seqwr"},
		},
	},
	Default: {
		parts: []Part{Boot, CPU, RAM, FileIO, Instructions}, cellTime: time.Second, twinCells: 2, warmUps: []Part{Boot, CPU, RAM, FileIO},
		runs: map[Part]int{Boot: 10, Debian: 3, CPU: 3, RAM: 3, FileIO: 3, Instructions: 2},
	},
	Course: {
		parts: Parts, cellTime: 10 * time.Second, twinCells: 1, warmUps: []Part{Boot, CPU, RAM, FileIO},
		runs: map[Part]int{Boot: 10, Debian: 3, CPU: 2, RAM: 2, FileIO: 2, Instructions: 2},
	},
}

// untwinned are the parts without an A/A comparison: Debian's boots are too long
// for one, and counted instructions have no noise to speak of.
var untwinned = []Part{Debian, Instructions}

// Draw draws a plan: the same for the same options. Machine after machine, it
// has one warm-up of each contender, then blocks. In a block each contender runs
// once for each part that has a run there, in drawn order, and so does the twin
// of one: what drifts in the course of the benchmark hits all alike. Runs of a
// part are spread over the blocks, so that a benchmark that is ended early has
// some of everything.
func Draw(opts Options) (Plan, error) {
	d, err := newDrawing(opts)
	if err != nil {
		return Plan{}, fmt.Errorf("plan of the benchmark: %w", err)
	}
	for _, on := range d.plan.Machines() {
		d.machine(on)
	}
	if len(d.plan.Runs) == 0 {
		return Plan{}, errors.New("plan of the benchmark: there is nothing to measure: each contender is missing, or does without all parts")
	}
	return d.plan, nil
}

// Seconds is what the runs are expected to take.
func (p Plan) Seconds() (sum float64) {
	for _, r := range p.Runs {
		sum += r.Seconds
	}
	return sum
}

// drawing is a plan that is being drawn.
type drawing struct {
	plan   Plan
	amount amount
	rand   *rand.Rand
}

func newDrawing(opts Options) (*drawing, error) {
	opts.Mode = cmp.Or(opts.Mode, Default)
	a, known := amounts[opts.Mode]
	if !known {
		return nil, fmt.Errorf("mode %q is none of %s, %s and %s", opts.Mode, Quick, Default, Course)
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &drawing{
		plan: Plan{
			Mode: opts.Mode, Seed: opts.Seed, Contenders: slices.Clone(opts.Contenders),
			CellTime: cmp.Or(opts.CellTime, a.cellTime),
		},
		amount: a.with(opts), rand: rand.New(rand.NewPCG(opts.Seed, 0)),
	}, nil
}

func (o Options) check() error {
	if o.CellTime%time.Second != 0 || o.CellTime < 0 {
		return fmt.Errorf("a cell of %v: sysbench takes whole seconds", o.CellTime)
	}
	if o.Boots == 1 || o.Boots < 0 || o.Samples == 1 || o.Samples < 0 {
		return fmt.Errorf("%d boots and %d samples: a single value says nothing of its noise, take 2 or more", o.Boots, o.Samples)
	}
	for _, p := range o.Parts {
		if !slices.Contains(Parts, p) {
			return fmt.Errorf("%q is no part: those are %v", p, Parts)
		}
	}
	seen := map[string]bool{}
	for _, c := range o.Contenders {
		if seen[c.Name()] {
			return fmt.Errorf("%s is there twice", c.Name())
		}
		seen[c.Name()] = true
	}
	return nil
}

// with is the amount with what the options say otherwise.
func (a amount) with(o Options) amount {
	if o.Parts != nil {
		a.parts = o.Parts
	}
	runs := map[Part]int{}
	for part, n := range a.runs {
		switch part {
		case Boot:
			n = cmp.Or(o.Boots, n)
		case CPU, RAM, FileIO:
			n = cmp.Or(o.Samples, n)
		}
		runs[part] = n
	}
	a.runs = runs
	return a
}

// cellsOf are the names of a part's cells in this amount.
func (a amount) cellsOf(part Part) []string {
	if chosen, ok := a.cells[part]; ok {
		return chosen
	}
	return CellNames(part)
}

// blocks is how many blocks there are: as many as the part with most runs has.
func (a amount) blocks() (n int) {
	for _, part := range a.parts {
		n = max(n, a.runs[part])
	}
	return n
}

// hasRun tells whether a part has a run in that block.
func (a amount) hasRun(part Part, block int) bool {
	n, blocks := a.runs[part], a.blocks()
	for i := range n {
		if i*blocks/n == block {
			return true
		}
	}
	return false
}

// machine draws the runs on a machine.
func (d *drawing) machine(on string) {
	twins := d.twins(on)
	for _, part := range d.amount.parts {
		if slices.Contains(d.amount.warmUps, part) {
			d.warmUp(on, part)
		}
	}
	for block := range d.amount.blocks() {
		for _, part := range shuffled(d.rand, d.amount.parts) {
			if d.amount.hasRun(part, block) {
				d.round(on, part, block, twins[part])
			}
		}
	}
}

// contenders are those that are measured on a machine in a part.
func (d *drawing) contenders(on string, part Part) []Contender {
	return slices.DeleteFunc(slices.Clone(d.plan.Contenders), func(c Contender) bool {
		return c.On != on || c.Missing != "" || c.Without[part] != ""
	})
}

// twins draws who is compared with itself on a machine, and in which cells:
// the same VMM in each part that it is measured in, the same cells in each block.
func (d *drawing) twins(on string) map[Part]Run {
	order := shuffled(d.rand, d.plan.Contenders)
	twins := map[Part]Run{}
	for _, part := range d.amount.parts {
		cells := shuffled(d.rand, d.amount.cellsOf(part))
		able := d.contenders(on, part)
		i := slices.IndexFunc(order, func(c Contender) bool {
			return slices.ContainsFunc(able, func(a Contender) bool { return a.Name() == c.Name() })
		})
		if i >= 0 && !slices.Contains(untwinned, part) {
			twins[part] = Run{VMM: order[i].VMM, On: on, Part: part, Twin: true, Cells: cells[:min(len(cells), d.amount.twinCells)]}
		}
	}
	return twins
}

// warmUp adds a run of each contender that shows whether the part works there,
// and brings files into caches.
func (d *drawing) warmUp(on string, part Part) {
	cells := d.amount.cellsOf(part)
	for _, c := range shuffled(d.rand, d.contenders(on, part)) {
		d.add(Run{Block: -1, VMM: c.VMM, On: on, Part: part, Cells: slices.Clone(cells[:min(1, len(cells))])})
	}
}

// round adds the runs of a part in a block.
func (d *drawing) round(on string, part Part, block int, twin Run) {
	var runs []Run
	for _, c := range d.contenders(on, part) {
		runs = append(runs, Run{VMM: c.VMM, On: on, Part: part, Cells: d.amount.cellsOf(part)})
	}
	if twin.Twin {
		runs = append(runs, twin)
	}
	for _, r := range shuffled(d.rand, runs) {
		r.Block, r.Cells = block, shuffled(d.rand, r.Cells)
		d.add(r)
	}
}

// add puts a run at the end of the plan.
func (d *drawing) add(r Run) {
	r.Index = len(d.plan.Runs)
	r.Seconds = d.seconds(r)
	d.plan.Runs = append(d.plan.Runs, r)
}

// What a VMM takes from exec to its end, where nobody says: measured on two
// cores without hardware virtualization.
const (
	guessedHost   = 2500 * time.Millisecond
	guessedNested = 6 * time.Second
)

// seconds estimates what a run takes. Starting a program, idling around it and
// laying out files take as much of a boot as they did where it was measured.
func (d *drawing) seconds(r Run) float64 {
	boot := d.boot(r).Seconds()
	perCell := d.plan.cellTime(r).Seconds() + boot/8
	switch r.Part {
	case Debian:
		return 6 * boot
	case FileIO:
		perCell += boot / 8
	case Instructions:
		perCell *= 2
	}
	return boot + float64(len(r.Cells))*perCell
}

// boot is what the VMM of a run is thought to take without a cell.
func (d *drawing) boot(r Run) time.Duration {
	guess := guessedHost
	if r.On != "host" {
		guess = guessedNested
	}
	i := slices.IndexFunc(d.plan.Contenders, func(c Contender) bool { return c.VMM == r.VMM && c.On == r.On })
	return cmp.Or(d.plan.Contenders[i].Boot, guess)
}

// cellTime is how long a cell of a run lasts. What is not counted, or counts
// itself, needs no more than the shortest time.
func (p Plan) cellTime(r Run) time.Duration {
	if r.Block < 0 || r.Part == Instructions {
		return time.Second
	}
	return p.CellTime
}

// shuffled is a copy in drawn order.
func shuffled[T any](r *rand.Rand, all []T) []T {
	all = slices.Clone(all)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
