package measure

import (
	"cmp"
	"maps"
	"slices"

	"virtlab/harness/sysbench"
)

// Side is one of the machines that are compared: a VMM or, where a table
// measures the same cells on two machine types of one VMM, such a machine.
type Side struct {
	Name  string // "stratovirt", "qemu microvm"
	VMM   string
	Rows  []*Row
	cells map[Cell]bool // those that have a row
}

// Sides are the machines of the table, the most complete first. What ran without
// a VMM is none.
func (t *Table) Sides() []*Side {
	split := t.splitVMMs()
	sides := map[string]*Side{}
	for _, r := range t.Rows {
		if bareMetal.MatchString(r.VMM) {
			continue
		}
		name := r.VMM
		if m := r.Facts[Machine].Text; split[r.VMM] && m != "" {
			name += " " + fold(m)
		}
		s := sides[name]
		if s == nil {
			s = &Side{Name: name, VMM: r.VMM, cells: map[Cell]bool{}}
			sides[name] = s
		}
		s.Rows = append(s.Rows, r)
		s.cells[courseCell(r.Cell)] = true
	}
	have, course := map[string]int{}, Course()
	for name, s := range sides {
		have[name] = s.count(course)
	}
	return slices.SortedFunc(maps.Values(sides), func(a, b *Side) int {
		return cmp.Or(cmp.Compare(have[b.Name], have[a.Name]), cmp.Compare(a.Name, b.Name))
	})
}

// splitVMMs are the VMMs of which some cell was measured on several machines.
func (t *Table) splitVMMs() map[string]bool {
	type place struct {
		vmm  string
		cell Cell
	}
	machines := map[place]string{}
	split := map[string]bool{}
	for _, r := range t.Rows {
		m := fold(r.Facts[Machine].Text)
		if m == "" {
			continue
		}
		p := place{r.VMM, r.Cell}
		if other, ok := machines[p]; ok && other != m {
			split[r.VMM] = true
		}
		machines[p] = m
	}
	return split
}

// Compared are the two sides that the checks look at; fewer where the table has
// fewer.
func (t *Table) Compared() []*Side {
	sides := t.Sides()
	return sides[:min(2, len(sides))]
}

// count counts the cells that the side has.
func (s *Side) count(cells []Cell) (n int) {
	for _, c := range cells {
		if s.cells[c] {
			n++
		}
	}
	return n
}

// names are the sides' names.
func names(sides []*Side) (all []string) {
	for _, s := range sides {
		all = append(all, s.Name)
	}
	return all
}

// Course lists the cells that the course asks for, on either VMM.
func Course() []Cell {
	cells := []Cell{{Test: Boot}, {Test: Footprint}}
	for _, c := range sysbench.CourseCPU() {
		cells = append(cells, Cell{Test: CPU, Threads: c.Threads})
	}
	for _, m := range sysbench.CourseMemory() {
		cells = append(cells, courseCell(Cell{Test: Memory, Threads: m.Threads, Block: m.BlockSize, Access: m.Access}))
	}
	for _, f := range sysbench.CourseFileIO() {
		access, op := pattern(string(f.Mode))
		cells = append(cells, Cell{Test: FileIO, Threads: f.Threads, Block: f.BlockSize, Access: access, Op: op})
	}
	return cells
}

// courseCell is the cell without what the course leaves open: what the memory
// test does, and whether its threads share the block.
func courseCell(c Cell) Cell {
	if c.Test == Memory {
		c.Op, c.Scope = "", ""
	}
	return c
}
