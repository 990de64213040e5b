package measure

import "strings"

// field is what a column of a table is for: it says what was measured, states a
// fact, or holds values.
type field struct {
	header string
	column column // "" for facts and values
	fact   Fact
	value  *valueField
}

// valueField is a column of values. What its header does not say, other
// columns do.
type valueField struct {
	meaning
	vmm    string
	repeat int
	unit   string
}

// isHeader tells whether a line names columns: most of its cells, two at the
// least, are known, one of them says what is measured, and none is a number.
func isHeader(cells []string) bool {
	known, filled, described := 0, 0, false
	for _, c := range cells {
		name := fold(c)
		if m := numeric.FindStringSubmatch(strings.TrimSpace(halfWidth(c))); m != nil && m[2] == "" {
			return false
		}
		if name == "" || aggregates[name] {
			continue
		}
		filled++
		f := parseHeader(c)
		described = described || f.column != "" || f.fact != ""
		if f.column != "" || f.fact != "" || f.value != nil {
			known++
		}
	}
	return described && known >= 2 && known*2 > filled
}

// parseHeader reads what a column is for.
func parseHeader(text string) field {
	f := field{header: strings.TrimSpace(text)}
	name := fold(text)
	if col, ok := columns[name]; ok {
		f.column = col
		if col == colValue {
			f.value = &valueField{}
		}
		return f
	}
	if fact, ok := factNames[name]; ok {
		f.fact = fact
		return f
	}
	if f.value = parseValueHeader(name); f.value != nil {
		return f
	}
	bare, _ := cutUnit(name)
	switch fact, ok := factOf(bare); {
	case columns[bare] == colBlock || columns[bare] == colThreads || columns[bare] == colRepeat:
		f.column = columns[bare]
	case columns[bare] == colValue:
		_, u := cutUnit(name)
		f.column, f.value = colValue, &valueField{unit: u}
	case ok && fact != statedVMM && fact != statedOne:
		f.fact = fact
	}
	return f
}

// parseValueHeader reads "throughput (MiB/s)", "latency_ms", "run 2", "QEMU",
// "StratoVirt 第1次"; nil for what heads no values.
func parseValueHeader(name string) *valueField {
	v := &valueField{}
	if w := vmmWords.FindString(vmmName(name)); w != "" {
		v.vmm = w
		name = strings.TrimSpace(strings.Replace(name, strings.ReplaceAll(w, "-", " "), "", 1))
	}
	if v.metric(name) {
		return v
	}
	name, v.unit = cutUnit(name)
	if n, ok := repeatOf(name); ok {
		v.repeat, name = n, ""
	}
	if name == "" && (v.vmm != "" || v.repeat > 0) || v.metric(name) {
		return v
	}
	return nil
}

// metric looks a metric up, which may be named by its unit.
func (v *valueField) metric(name string) bool {
	m, ok := metrics[name]
	v.meaning = m
	if words := strings.Fields(name); ok && v.unit == "" {
		v.unit = unitIn(words[len(words)-1]) // "read, mib/s"
	}
	return ok
}

// unitIn is the unit that a metric's name is: "MiB/s", "events/s".
func unitIn(name string) string {
	if _, ok := parseUnit(name, inFlow); ok {
		return name
	}
	return ""
}

// cutUnit cuts the unit off a header: "boot time (s)", "latency [ms]", "rss kb".
func cutUnit(name string) (rest, unit string) {
	if i := strings.LastIndexAny(name, "([{"); i >= 0 && strings.HasSuffix(name, map[byte]string{'(': ")", '[': "]", '{': "}"}[name[i]]) {
		return strings.TrimRight(name[:i], " /,:"), name[i+1 : len(name)-1]
	}
	for _, cut := range []func(s, sep string) (string, string, bool){strings.Cut, cutLast} {
		for _, sep := range []string{" ", "/"} {
			if before, after, ok := cut(name, sep); ok && before != "" {
				if _, isUnit := parseUnit(after, ""); isUnit {
					return strings.TrimRight(before, " /,:"), after
				}
			}
		}
	}
	return name, ""
}
