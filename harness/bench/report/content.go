package report

import (
	"fmt"
	"slices"

	"virtlab/harness/bench"
	"virtlab/harness/bench/manifest"
	"virtlab/harness/sysbench"
)

// compose is the report: first what was not equal, then what that allows to
// say, then the numbers.
func (v view) compose() (*document, error) {
	conditions, err := manifest.Load(v.Manifest)
	if err != nil {
		return nil, err
	}
	doc := &document{Title: "Comparison of VMMs", Subtitle: v.subtitle()}
	doc.add(v.missingSection())
	doc.add(v.differenceSection(conditions))
	doc.add(v.noiseSection())
	for _, s := range v.verdictSections() {
		doc.add(s)
	}
	doc.add(v.claimSection())
	doc.add(v.bootSection())
	doc.add(v.memorySection())
	for _, part := range []bench.Part{bench.CPU, bench.RAM, bench.FileIO, bench.Instructions} {
		doc.add(v.matrixSection(part))
	}
	doc.add(v.manifestSection(conditions))
	doc.add(v.methodSection())
	return doc, nil
}

// add appends a section that says something.
func (d *document) add(s section) {
	if len(s.Text)+len(s.List)+len(s.Items) > 0 {
		d.Sections = append(d.Sections, s)
	}
}

// subtitle says when, how much and from which seed.
func (v view) subtitle() string {
	s := fmt.Sprintf("virtlab, %s, seed %d", v.Plan.Mode, v.Plan.Seed)
	if len(v.Results) > 0 {
		s += ", " + v.Results[0].Start.UTC().Format("2006-01-02 15:04 UTC")
	}
	if done, planned := len(v.Results), len(v.Plan.Runs); done < planned {
		s += fmt.Sprintf("; ended after %d of %d runs", done, planned)
	}
	return s
}

// missingSection lists the contenders without any number.
func (v view) missingSection() section {
	s := section{ID: "missing", Title: "Not measured"}
	for _, c := range v.Plan.Contenders {
		if c.Missing != "" {
			s.List = append(s.List, fmt.Sprintf("%s on %s: not measured: %s", c.VMM, c.On, oneLine(c.Missing)))
		}
	}
	return s
}

func (v view) bootSection() section {
	s := section{ID: "boot", Title: "Boot"}
	for _, machine := range v.Plan.Machines() {
		s.addTable(v.byMetric(machine, "Boot", bench.Boot, boot))
		s.addFigure(v.bootFigure(machine))
		if slices.Contains(v.Plan.Parts(), bench.Debian) {
			s.addTable(v.byMetric(machine, "Boot of Debian", bench.Debian, boot))
			s.addFigure(v.debianFigure(machine))
		}
	}
	s.addTable(v.analyzed())
	return s
}

// analyzed is what systemd said of its own boots, beside the outside clock.
func (v view) analyzed() *table {
	t := &table{Title: "systemd-analyze time, as printed", Head: []string{"run", "VMM", "on", "printed"}, Folded: true}
	for _, r := range v.Results {
		if r.Analyze != "" && r.Run.Block >= 0 {
			t.add(fmt.Sprint(r.Run.Index), r.Run.VMM, r.Run.On, oneLine(r.Analyze))
		}
	}
	return t
}

func (v view) memorySection() section {
	s := section{ID: "memory", Title: "Memory of the VMM's process"}
	for _, machine := range v.Plan.Machines() {
		s.addTable(v.byMetric(machine, "Memory", bench.Boot, memory))
		s.addFigure(v.memoryFigure(machine))
	}
	return s
}

func (v view) matrixSection(part bench.Part) section {
	s := section{ID: "part-" + string(part), Title: partTitle[part]}
	if !slices.Contains(v.Plan.Parts(), part) {
		return s
	}
	for _, machine := range v.Plan.Machines() {
		if part == bench.Instructions {
			s.addTable(v.byMetric(machine, "Instructions of a boot", part, func(m bench.Metric) bool { return m.Verdict }))
		}
		for _, m := range bench.MetricsOf(part) {
			s.addTable(v.byCell(machine, m))
		}
		s.addFigure(v.matrixFigure(machine, part))
	}
	return s
}

func (v view) matrixFigure(machine string, part bench.Part) *figure {
	switch part {
	case bench.CPU:
		return v.cpuFigure(machine)
	case bench.RAM:
		return v.ramFigure(machine)
	case bench.FileIO:
		return v.fileFigure(machine)
	}
	return nil
}

// methodSection says how it was measured, and what that does not allow to say.
func (v view) methodSection() section {
	s := section{ID: "method", Title: "Method and its limits", List: []string{
		fmt.Sprintf("Every run is a fresh VMM process. The VMMs of a machine take turns in blocks, in an order drawn from the seed %d; a first run of each, not counted, warms the caches.", v.Plan.Seed),
		"Boot times are by the clock of the machine on which the VMM runs, from just before its exec to the byte on the guest's console; what writing a marker costs is measured. The kernel's start is the time of init less the guest's own age at it.",
		"Memory is from /proc/PID/smaps while the guest holds still after boot. Guest RAM is the range that backs it, found by pages that the guest filled with a number, not by its size.",
		fmt.Sprintf("sysbench runs %s a cell. Outputs that are folded, inconsistent or carry errors are refused.", v.Plan.CellTime),
		v.fileioMethod(),
		"Differences: the smaller p of the Mann–Whitney test and of Wilcoxon's signed ranks over blocks, corrected for having two; Holm's correction over all comparisons of a pair; 5 % chance of calling any difference in a pair of equals. Ratios are Hodges–Lehmann estimates on logarithms.",
		"VM exits are KVM's own counters, instructions those of QEMU with -icount: neither depends on the machine's speed.",
	}}
	if slices.ContainsFunc(v.Plan.Contenders, func(c bench.Contender) bool { return c.Label != "" }) {
		s.List = append(s.List, "Numbers labelled \""+bench.Nested+"\" are from a KVM that an emulated processor provides. They show that everything works, and counts such as VM exits hold; times say nothing about the same VMMs on hardware.")
	}
	s.List = append(s.List, "Times under TCG compare machine types with each other, not with KVM.")
	return s
}

// fileioMethod states what sysbench fileio is asked for.
func (v view) fileioMethod() string {
	f := sysbench.CourseFileIO()[0]
	size := f.TotalSize / sysbench.MiB
	cache := fmt.Sprintf("its files (%d MiB) fit into guest RAM, and without direct I/O this measures the guest's page cache", size)
	if f.Direct {
		cache = fmt.Sprintf("direct I/O, so that its files (%d MiB, less than guest RAM) are not read from the guest's page cache", size)
	}
	sync := "no syncs"
	if f.FsyncFreq > 0 {
		sync = fmt.Sprintf("a sync every %d writes", f.FsyncFreq)
	}
	return fmt.Sprintf("sysbench fileio: %s; %s. More threads than vCPUs only queue.", cache, sync)
}
