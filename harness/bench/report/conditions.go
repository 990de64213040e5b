package report

import (
	"slices"
	"strings"

	"virtlab/harness/bench/manifest"
)

// conditions are the sides of a machine of which the conditions are known.
func (v view) conditions(m manifest.Manifest, machine string) (sides []manifest.Side) {
	for _, c := range v.on(machine) {
		if side, ok := m.Side(c.VMM, c.On); ok && c.Missing == "" {
			sides = append(sides, side)
		}
	}
	return sides
}

// differenceSection is what was not equal: it stands before any number.
func (v view) differenceSection(m manifest.Manifest) section {
	s := section{ID: "differences", Title: "What was not equal"}
	if len(m.Sides) == 0 {
		s.Text = []string{"Not known: nobody has collected the conditions, so no difference between numbers can be laid to a VMM."}
		return s
	}
	for _, machine := range v.Plan.Machines() {
		sides := v.conditions(m, machine)
		t := differenceTable(sides)
		t.Title = v.titled("Different", machine)
		if len(t.Rows) == 0 && len(sides) > 1 {
			t.Notes = []string{"Nothing of what the manifest holds."}
		}
		s.addTable(t)
	}
	return s
}

// differenceTable has a row for each condition that two of the sides do not
// share, those first that spoil most.
func differenceTable(sides []manifest.Side) *table {
	t := &table{Head: []string{"condition"}, Prose: true}
	for _, side := range sides {
		t.Head = append(t.Head, side.VMM)
	}
	t.Head = append(t.Head, "what it does to the comparison")
	for _, d := range allDifferences(sides) {
		row := []string{d.Group + ": " + d.Key}
		for i, value := range withoutCommon(d, sides) {
			row = append(row, shown(value, sides[i].Get(d.Group, d.Key)))
		}
		t.add(append(row, d.Means)...)
	}
	return t
}

// allDifferences are those of all pairs, each condition once.
func allDifferences(sides []manifest.Side) (all []manifest.Difference) {
	for i, a := range sides {
		for _, b := range sides[i+1:] {
			for _, d := range manifest.Differences(a, b) {
				if !slices.ContainsFunc(all, func(e manifest.Difference) bool { return e.Group == d.Group && e.Key == d.Key }) {
					all = append(all, d)
				}
			}
		}
	}
	return all
}

// withoutCommon are the sides' values; of the kernel's words, which are a long
// list, those that not all share.
func withoutCommon(d manifest.Difference, sides []manifest.Side) []string {
	values := make([]string, len(sides))
	for i, side := range sides {
		values[i] = side.Get(d.Group, d.Key)
	}
	if d.Group != manifest.Guest || d.Key != "kernel words" {
		return values
	}
	common := strings.Fields(values[0])
	for _, words := range values[1:] {
		theirs := strings.Fields(words)
		common = slices.DeleteFunc(common, func(w string) bool { return !slices.Contains(theirs, w) })
	}
	for i, words := range values {
		own := slices.DeleteFunc(strings.Fields(words), func(w string) bool { return slices.Contains(common, w) })
		values[i] = strings.Join(own, " ")
	}
	return values
}

// shown is a value in a table; what is empty says why.
func shown(value, whole string) string {
	switch {
	case value != "":
		return value
	case whole == "":
		return "unknown"
	}
	return "no other"
}

// manifestSection is the manifest in full.
func (v view) manifestSection(m manifest.Manifest) section {
	s := section{ID: "manifest", Title: "All conditions"}
	for _, machine := range v.Plan.Machines() {
		sides := v.conditions(m, machine)
		if len(sides) == 0 {
			continue
		}
		t := &table{Title: v.titled("Conditions", machine), Head: []string{"condition"}, Prose: true, Folded: true}
		for _, side := range sides {
			t.Head = append(t.Head, side.VMM)
		}
		for _, e := range allEntries(sides) {
			t.add(append([]string{e.Group + ": " + e.Key}, valuesIn(sides, e)...)...)
		}
		s.addTable(t)
	}
	return s
}

// allEntries are the conditions that any side has, in the order of the first.
func allEntries(sides []manifest.Side) (all []manifest.Entry) {
	for _, side := range sides {
		for _, e := range side.Entries {
			if !slices.ContainsFunc(all, func(k manifest.Entry) bool { return k.Group == e.Group && k.Key == e.Key }) {
				all = append(all, e)
			}
		}
	}
	return all
}

func valuesIn(sides []manifest.Side, e manifest.Entry) (values []string) {
	for _, side := range sides {
		value := side.Get(e.Group, e.Key)
		values = append(values, shown(value, value))
	}
	return values
}
