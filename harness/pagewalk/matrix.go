package pagewalk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Matrix is the whole two-dimensional walk (APM 2, 15.25.5), read from memory: one row
// for each level of the guest's table and one for the data, and in each row the host
// levels that turn the row's GPA into an HPA.
type Matrix struct {
	GuestLevels int   `json:"guestLevels"`
	HostLevels  int   `json:"hostLevels"`
	GuestRoot   Hex   `json:"guestRoot"` // a GPA
	HostRoot    Hex   `json:"hostRoot"`  // an HPA
	GVA         Hex   `json:"gva"`
	GPA         Field `json:"gpa"`
	HPA         Field `json:"hpa"`
	Rows        []Row `json:"rows"`
	// References counts the reads of memory, the data's included: 25 where guest and
	// host have 4 levels and 4 KiB pages.
	References int      `json:"references"`
	Findings   Findings `json:"findings,omitempty"`
}

// Row is one guest entry, or the data, and the host walk that leads to it.
type Row struct {
	Name    string `json:"name"`            // the guest level's name, or "data"
	Level   int    `json:"level,omitempty"` // of the guest, 0 for the data
	GPA     Hex    `json:"gpa"`
	Host    []Cell `json:"host"`
	HPA     Field  `json:"hpa"`
	Memory  Field  `json:"memory"`  // the 8 bytes at HPA
	Printed Field  `json:"printed"` // what the log shows there
	OK      bool   `json:"ok"`      // printed, and memory agrees
}

// Cell is one host entry.
type Cell struct {
	Name    string `json:"name"`
	Level   int    `json:"level"`
	Address Hex    `json:"address"` // HPA of the entry
	Entry   Hex    `json:"entry"`
}

// Confirmed says that the walk reached the data, that memory holds the value the logs
// show, and that nothing which the logs show is wrong. Lines that a log lacks do not
// count against it: see [Findings.With] for gaps.
func (m Matrix) Confirmed() bool {
	n := len(m.Rows)
	return n > 0 && m.Rows[n-1].Level == 0 && m.Rows[n-1].OK && m.Findings.Err() == nil
}

// walker does a two-dimensional walk.
type walker struct {
	mem         PhysReader
	pair        Pair
	hostRoot    Root
	matrix      Matrix
	guest, host report
}

// TwoDimensional translates the guest's GVA from outside: it reads the guest's tables
// through the host's, both in the memory of the machine that runs the guest, and
// compares each entry, address and value that the logs show. It trusts the logs for
// nothing but the two roots and the GVA. The error is a failure of mem, or
// ErrIncomplete; whatever the logs and memory disagree about is a finding, guest before
// data before host, each from the top level down.
func TwoDimensional(ctx context.Context, mem PhysReader, p Pair) (Matrix, error) {
	guestRoot, err := RootOf(p.Guest)
	if err != nil {
		return Matrix{}, err
	}
	hostRoot, err := RootOf(p.Host)
	if err != nil {
		return Matrix{}, err
	}
	if hostRoot.Kind == Shadow {
		return Matrix{}, errors.New("shadow paging has one dimension, GVA to HPA: compare the host walk alone")
	}
	if !p.Guest.Address.Seen {
		return Matrix{}, fmt.Errorf("%w: the guest walk lacks its GVA line", ErrIncomplete)
	}
	w := &walker{mem: mem, pair: p, hostRoot: hostRoot, guest: report{walk: p.Guest}, host: report{walk: p.Host}}
	w.matrix = Matrix{GuestLevels: guestRoot.Levels, HostLevels: hostRoot.Levels, GuestRoot: guestRoot.Table, HostRoot: hostRoot.Table, GVA: p.Guest.Address.Value}
	err = w.run(ctx, guestRoot)
	w.matrix.Findings = append(w.guest.findings, w.host.findings...)
	return w.matrix, err
}

// errStopped ends a walk whose cause is in the findings already.
var errStopped = errors.New("walk stopped")

func (w *walker) run(ctx context.Context, root Root) error {
	walk, err := translate(ctx, root, w.matrix.GVA, w.guestEntry)
	switch {
	case errors.Is(err, errStopped):
		return nil
	case errors.Is(err, ErrNotMapped):
		w.guest.absent(walk)
		return nil
	case err != nil:
		return err
	}
	w.matrix.GPA = walk.Output
	w.guest.mapped(walk)
	w.host.equal(CheckLink, 0, walk.Output.Value, w.pair.Host.Address, "GPA is not the one to which the guest's tables in memory lead")
	if err := w.data(ctx, walk.Output.Value); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// absent compares a log with memory in which the address is not mapped.
func (r *report) absent(walk Walk) {
	if claimed := r.walk.Unmapped; claimed == nil || claimed.Level != walk.Unmapped.Level {
		e := walk.Unmapped.Entry.Value
		r.add(Finding{Check: CheckMemory, Level: walk.Unmapped.Level, Text: "in memory the address is not mapped: the entry is " + e.String()})
	}
}

// mapped compares the end of a log's walk with the end of the walk in memory.
func (r *report) mapped(walk Walk) {
	if u := r.walk.Unmapped; u != nil {
		r.add(Finding{Check: CheckMemory, Level: u.Level, Line: u.Line, Text: "the log says that nothing is mapped, but memory has a mapping"})
	}
	if r.walk.Leaf != 0 && r.walk.Leaf != walk.Leaf {
		r.add(Finding{Check: CheckLarge, Level: r.walk.Leaf, Line: r.walk.LeafLine, Text: "in memory the page is mapped at level " + walk.Name(walk.Leaf)})
	}
	r.equal(CheckOutput, 0, walk.Output.Value, r.walk.Output, r.walk.Kind.output()+" differs from the walk in memory")
}

// guestEntry reads an entry of the guest through the host's tables and compares it.
func (w *walker) guestEntry(ctx context.Context, s Step) (Hex, error) {
	row := Row{Name: s.Name, Level: s.Level, GPA: s.EntryAddress()}
	if printed, ok := w.pair.Guest.Step(s.Level); ok {
		row.Printed = printed.Entry
		w.guest.equal(CheckTable, s.Level, s.Table.Value, printed.Table, "table differs from the one in memory")
	}
	if _, err := w.reach(ctx, &row, &w.guest); err != nil {
		return 0, err
	}
	w.finish(row, X86.AccessedDirty(), &w.guest)
	return row.Memory.Value, nil
}

// data reads the guest's number and compares the host's walk to it, level by level.
func (w *walker) data(ctx context.Context, gpa Hex) error {
	row := Row{Name: "data", GPA: gpa, Printed: either(w.pair.Guest.Value, w.pair.Host.Value)}
	walk, err := w.reach(ctx, &row, nil)
	w.host.steps(walk)
	if errors.Is(err, errStopped) {
		w.host.unreached(walk)
	}
	if err != nil {
		return err
	}
	w.host.mapped(walk)
	w.matrix.HPA = row.HPA
	w.finish(row, 0, &w.guest)
	w.host.equal(CheckValue, 0, row.Memory.Value, w.pair.Host.Value, "value at HPA is not what memory holds")
	return nil
}

// steps compares the levels that a host log shows with those in memory.
func (r *report) steps(walk Walk) {
	for _, real := range walk.Steps {
		printed, ok := r.walk.Step(real.Level)
		if !ok {
			continue
		}
		r.equal(CheckTable, real.Level, real.Table.Value, printed.Table, "table differs from the one in memory")
		if printed.Entry.Seen {
			ok := (printed.Entry.Value^real.Entry.Value)&^r.walk.Format().AccessedDirty() == 0
			r.compare(Read{Level: real.Level, Address: real.EntryAddress(), Printed: printed.Entry.Value, Memory: real.Entry.Value, Line: printed.Entry.Line, OK: ok})
		}
	}
}

// unreached compares a host log with memory that maps nothing at the GPA.
func (r *report) unreached(walk Walk) {
	if walk.Unmapped != nil {
		r.absent(walk)
		return
	}
	r.add(Finding{Check: CheckMemory, Text: "the tables lead to an address where there is no memory"})
}

// reach translates the row's GPA and reads what is there. A translation that fails is
// a finding of blame, unless blame is nil, and errStopped.
func (w *walker) reach(ctx context.Context, row *Row, blame *report) (Walk, error) {
	walk, err := Translate(ctx, w.mem, w.hostRoot, uint64(row.GPA))
	for _, s := range walk.Steps {
		row.Host = append(row.Host, Cell{Name: s.Name, Level: s.Level, Address: s.EntryAddress(), Entry: s.Entry.Value})
	}
	w.matrix.References += len(row.Host)
	if err == nil {
		row.HPA = walk.Output
		row.Memory.Value, err = read(ctx, w.mem, walk.Output.Value)
	}
	if errors.Is(err, ErrNotMapped) || errors.Is(err, ErrNoMemory) {
		w.matrix.Rows = append(w.matrix.Rows, *row)
		if blame != nil {
			blame.add(Finding{Check: CheckMemory, Level: row.Level, Line: row.Printed.Line, Text: "cannot be reached in memory: " + err.Error()})
		}
		return walk, errStopped
	}
	if err != nil {
		return walk, fmt.Errorf("two-dimensional walk, %s at GPA %v: %w", row.Name, row.GPA, err)
	}
	row.Memory.Seen = true
	w.matrix.References++
	return walk, nil
}

// finish compares what the row's line in the log shows with memory and keeps the row.
func (w *walker) finish(row Row, mask Hex, r *report) {
	row.OK = row.Printed.Seen && (row.Printed.Value^row.Memory.Value)&^mask == 0
	if row.Printed.Seen {
		r.compare(Read{Level: row.Level, Address: row.HPA.Value, Printed: row.Printed.Value, Memory: row.Memory.Value, Line: row.Printed.Line, OK: row.OK})
	}
	w.matrix.Rows = append(w.matrix.Rows, row)
}

// Table renders the matrix for people: in each host cell the entry and, below it, the
// physical address where it was read.
func (m Matrix) Table() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateRows = true
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle(fmt.Sprintf("GVA %v → GPA %v → HPA %v: %d memory references", m.GVA, m.GPA, m.HPA, m.References))
	header := table.Row{"guest", "GPA"}
	for level := m.HostLevels; level > 0; level-- {
		header = append(header, "host "+LevelName(level, m.HostLevels))
	}
	t.AppendHeader(append(header, "HPA", "in memory", "in the log", ""))
	for _, row := range m.Rows {
		t.AppendRow(row.cells(m.HostLevels))
	}
	lines := []string{t.Render()}
	for _, f := range m.Findings {
		lines = append(lines, string(f.Severity)+": "+f.String())
	}
	return strings.Join(lines, "\n") + "\n"
}

func (r Row) cells(levels int) table.Row {
	out := table.Row{r.Name, r.GPA}
	for i := range levels {
		if i < len(r.Host) {
			out = append(out, fmt.Sprintf("%v\nat %v", r.Host[i].Entry, r.Host[i].Address))
		} else {
			out = append(out, "")
		}
	}
	verdict := "differs"
	switch {
	case r.OK:
		verdict = "same"
	case !r.Printed.Seen:
		verdict = "not in the log"
	case !r.Memory.Seen:
		verdict = "not reached"
	}
	return append(out, r.HPA, r.Memory, r.Printed, verdict)
}

// String returns the number in hexadecimal, or "-" where there is none.
func (f Field) String() string {
	if !f.Seen {
		return "-"
	}
	return f.Value.String()
}
