package measure

import (
	"fmt"
	"slices"

	"virtlab/harness/sysbench"
)

// courseRAM is the guest memory that the course fixes, for tables that do not
// state it.
const courseRAM = 1 << 30

// DataSet tells where something else was measured than the table says: the
// guest's page cache for the disk, or address space for memory in use.
func (t *Table) DataSet() (found []Finding) {
	for _, s := range t.Compared() {
		ram, _ := s.agreed(GuestRAM)
		if ram == 0 {
			ram = courseRAM
		}
		found = append(found, s.pageCache(ram)...)
		found = append(found, s.fasterThanMemory()...)
		found = append(found, s.addressSpace(ram)...)
	}
	return append(found, t.unlikeMemory()...)
}

func (s *Side) has(test Test) bool {
	return slices.ContainsFunc(s.Rows, func(r *Row) bool { return r.Cell.Test == test })
}

// pageCache looks at the size of the fileio test's files.
func (s *Side) pageCache(ram float64) []Finding {
	if !s.has(FileIO) {
		return nil
	}
	files := s.only(FileIO)
	row := "fileio on " + s.Name
	if d := files.stated(Direct, sameText); len(d) > 0 && !slices.ContainsFunc(d, func(v Stated) bool { return !isOn(v.Text) }) {
		return nil
	}
	size, pos := files.agreed(DataSet)
	switch {
	case size == 0:
		return []Finding{{Severity: Advice, Row: row, Text: "neither the size of the files (data-set) nor direct I/O (direct) is stated: with files smaller than the guest's memory and without --file-extra-flags=direct the page cache is measured, not the disk"}}
	case size <= ram:
		return []Finding{{Severity: Wrong, Pos: pos, Row: row,
			Expected: fmt.Sprintf("files of more than %s, or direct I/O", mib(ram)), Got: "files of " + mib(size) + ", no direct I/O stated",
			Text: fmt.Sprintf("files of %s fit into the guest's memory of %s: the page cache was measured, not the disk; use --file-extra-flags=direct and state it (\"# direct: on\"), or --file-total-size above the memory", mib(size), mib(ram))}}
	}
	return nil
}

// only is the side with the rows of one test.
func (s *Side) only(test Test) *Side {
	out := &Side{Name: s.Name, VMM: s.VMM}
	for _, r := range s.Rows {
		if r.Cell.Test == test {
			out.Rows = append(out.Rows, r)
		}
	}
	return out
}

func isOn(text string) bool {
	return slices.Contains([]string{"on", "true", "yes", "1", "direct", "directio", "o direct", "是", "开"}, fold(text))
}

func mib(bytes float64) string { return fmt.Sprintf("%.4g MiB", bytes/sysbench.MiB) }

// fasterThanMemory compares the disk with the memory test of the same guest.
func (s *Side) fasterThanMemory() []Finding {
	disk, memory := s.fastest(FileIO), s.fastest(Memory)
	if disk == nil || memory == nil {
		return nil
	}
	d, m := disk.Values[Throughput], memory.Values[Throughput]
	if d.Value <= m.Value {
		return nil
	}
	return []Finding{{Severity: Implausible, Pos: d.Pos, Row: disk.String(), Expected: fmt.Sprintf("less than memory's %s", m), Got: d.String(),
		Text: fmt.Sprintf("%s is faster than the same guest's memory (%s: %s): this is a page cache, or a wrong unit", d, memory.Cell, m)}}
}

// fastest is the row of a test with the highest throughput.
func (s *Side) fastest(test Test) (best *Row) {
	for _, r := range s.Rows {
		v, ok := r.Values[Throughput]
		if r.Cell.Test == test && ok && (best == nil || v.Value > best.Values[Throughput].Value) {
			best = r
		}
	}
	return best
}

// addressSpace looks for virtual sizes that are called RSS: a guest that has
// just booted has not touched all of its memory, but it is all mapped.
func (s *Side) addressSpace(ram float64) []Finding {
	for _, r := range s.Rows {
		rss, has := r.Values[RSS]
		virtual, both := r.Values[Virtual]
		f := Finding{Severity: Implausible, Pos: rss.Pos, Row: r.String(), Expected: "less than " + mib(ram), Got: rss.String()}
		switch {
		case has && both && rss.Value == virtual.Value:
			f.Text = fmt.Sprintf("RSS and virtual size are the same number (%s): pmap -x prints Kbytes (mapped) and RSS (in memory) side by side", rss)
		case has && rss.Value-rss.Half >= ram:
			f.Text = fmt.Sprintf("an RSS of %s is more than all of the guest's memory (%s) after a boot: this looks like pmap's Kbytes, address space that is mapped; take the column RSS", rss, mib(ram))
		default:
			continue
		}
		return []Finding{f}
	}
	return nil
}

// unlikeMemory finds a footprint that is address space on one side or both.
func (t *Table) unlikeMemory() (found []Finding) {
	for _, s := range t.Compared() {
		resident, virtual := false, (*Row)(nil)
		for _, r := range s.Rows {
			resident = resident || slices.ContainsFunc([]Metric{RSS, PSS, USS}, func(m Metric) bool { _, ok := r.Values[m]; return ok })
			if _, ok := r.Values[Virtual]; ok && virtual == nil {
				virtual = r
			}
		}
		if virtual != nil && !resident {
			found = append(found, Finding{Severity: Implausible, Pos: virtual.Pos, Row: "footprint on " + s.Name, Expected: "RSS", Got: "virtual size only",
				Text: "only the virtual size is given, which is address space: most of it is never touched; take pmap's column RSS"})
		}
	}
	return found
}
