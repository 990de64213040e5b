package measure

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"virtlab/harness/sysbench"
)

// compared are the facts that have to be the same on both sides.
var compared = []struct {
	fact Fact
	name string
	same func(a, b string) bool
}{
	{Machine, "machine type", sameText},
	{GuestRAM, "guest memory", sameSize},
	{VCPUs, "vCPUs", sameText},
	{Kernel, "kernel", sameKernel},
}

// Parity tells where the two sides are not alike in what is not compared.
func (t *Table) Parity() (found []Finding) {
	sides := t.Compared()
	var unstated []string
	for _, c := range compared {
		var first []Stated
		for _, s := range sides {
			values := s.stated(c.fact, c.same)
			if len(values) > 1 {
				found = append(found, Finding{Severity: Wrong, Pos: values[1].Pos, Expected: values[0].Text, Got: values[1].Text,
					Text: fmt.Sprintf("%s states two values for its %s, %s (%s) and %s: measure all of it on one", s.Name, c.name, quote(values[0].Text), values[0].Pos, quote(values[1].Text))})
			}
			if len(values) > 0 {
				first = append(first, values[0])
			}
		}
		switch {
		case len(first) < len(sides):
			unstated = append(unstated, c.name)
		case len(first) == 2 && !c.same(first[0].Text, first[1].Text):
			found = append(found, differs(c.fact, c.name, sides, first))
		}
	}
	if len(unstated) > 0 {
		found = append(found, Finding{Severity: Advice, Text: fmt.Sprintf("not stated for both sides: %s; write columns or lines like \"# qemu.memory: 1024 MiB\", so that a reader can see that the comparison is fair", strings.Join(unstated, ", "))})
	}
	return found
}

// differs is the finding for sides that are not alike. Machine types of one VMM
// may be what is compared.
func differs(fact Fact, name string, sides []*Side, values []Stated) Finding {
	a, b := sides[0], sides[1]
	f := Finding{Severity: Wrong, Pos: values[1].Pos, Expected: values[0].Text, Got: values[1].Text}
	if fact == Machine && family(a.VMM) == family(b.VMM) {
		f.Severity = Advice
		f.Text = fmt.Sprintf("%s and %s are machine types of one VMM: their difference is not one between VMMs", quote(values[0].Text), quote(values[1].Text))
		return f
	}
	f.Text = fmt.Sprintf("the %s is %s on %s but %s on %s: a difference in the results may be that; measure both with the same", name, quote(values[0].Text), a.Name, quote(values[1].Text), b.Name)
	return f
}

// stated are the different values that a side's rows state for a fact.
func (s *Side) stated(fact Fact, same func(a, b string) bool) (values []Stated) {
	for _, r := range s.Rows {
		v, ok := r.Facts[fact]
		if !ok && fact == Machine {
			v, ok = machineInName(r)
		}
		if ok && !slices.ContainsFunc(values, func(have Stated) bool { return same(have.Text, v.Text) }) && len(values) < 2 {
			values = append(values, v)
		}
	}
	return values
}

// machineInName is the machine type of VMMs that are called after it:
// qemu-microvm.
func machineInName(r *Row) (Stated, bool) {
	machine, ok := strings.CutPrefix(r.VMM, "qemu-")
	return Stated{machine, r.Pos}, ok && machine != ""
}

func sameText(a, b string) bool { return fold(a) == fold(b) }

// sameSize compares sizes of memory: 1G, 1024, 1024 MiB. A bare number is MiB,
// as in QEMU's -m.
func sameSize(a, b string) bool {
	x, errX := binarySize(a, sysbench.MiB)
	y, errY := binarySize(b, sysbench.MiB)
	return errX == nil && errY == nil && x == y || sameText(a, b)
}

// sameKernel compares kernels by their file's name or version.
func sameKernel(a, b string) bool {
	x, y := kernelName(a), kernelName(b)
	return x == y || x != "" && y != "" && (strings.HasSuffix(x, y) || strings.HasSuffix(y, x))
}

func kernelName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, prefix := range []string{"linux version ", "linux ", "vmlinuz-", "vmlinux-", "bzimage-"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// agreed is what a side's rows state for a size, 0 where they do not.
func (s *Side) agreed(fact Fact) (bytes float64, pos Pos) {
	for _, v := range s.stated(fact, sameSize) {
		if n, err := binarySize(v.Text, sysbench.MiB); err == nil {
			return n, v.Pos
		}
	}
	return 0, Pos{}
}

// States lists what the table states, for a verdict that says what was seen.
func (t *Table) States() string {
	seen := map[string]bool{}
	for _, s := range t.Compared() {
		for _, c := range compared {
			for _, v := range s.stated(c.fact, c.same) {
				seen[fmt.Sprintf("%s %s", c.name, v.Text)] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}
