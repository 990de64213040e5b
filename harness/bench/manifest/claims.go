package manifest

import (
	"fmt"
	"strings"

	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
)

// Claim is a figure that a VMM's makers publish: a hypothesis for the table.
type Claim struct {
	By     string // who says so and where
	VMM    string // beginning of the contenders' names
	Text   string // what is claimed, in short
	How    string // how it was measured, as far as it is told
	Bound  float64
	Part   bench.Part
	Metric string // the Unit of the bench.Metric that comes nearest
	// Gap says how our measure differs from the claimed one.
	Gap string
}

// Claims are those of the VMMs that can take part.
var Claims = []Claim{
	{
		By: "StratoVirt, docs/design.md", VMM: "stratovirt", Text: "microvm starts within 50 ms",
		How: "no method published: neither the guest nor the end of the interval is named", Bound: 0.050,
		Part: bench.Boot, Metric: "init-sec", Gap: "from exec to init's first line on the console",
	},
	{
		By: "StratoVirt, docs/design.md", VMM: "stratovirt", Text: "a memory footprint of 4 MB",
		How: "no method published: neither the measure nor what is left out is named", Bound: 4e6,
		Part: bench.Boot, Metric: "own-rss-B", Gap: "resident without guest RAM",
	},
	{
		By: "Firecracker, SPECIFICATION.md", VMM: "firecracker", Text: "at most 125 ms from the start call to /sbin/init",
		How: "from the InstanceStart call of the API to the start of init; minimal kernel and root file system, serial console off, 1 vCPU, 128 MiB, bare metal without hyperthreading", Bound: 0.125,
		Part: bench.Boot, Metric: "init-sec", Gap: "from exec to init's first line on the serial console, with more guest memory",
	},
	{
		By: "Firecracker, SPECIFICATION.md", VMM: "firecracker", Text: "at most 5 MiB of overhead",
		How: "memory of the VMM without guest RAM, by their CI, with 1 vCPU and 128 MiB; more with some loads", Bound: 5 << 20,
		Part: bench.Boot, Metric: "own-rss-B", Gap: "resident without guest RAM, with more guest memory",
	},
}

// ClaimRow is a claim beside what was measured.
type ClaimRow struct {
	Claim
	Contender string // VMM; empty: none of its name in the plan
	On, Label string
	Measured  stat.Summary
	// NotMeasured is the reason why Measured is empty.
	NotMeasured string
	// Verdict is "met", "not met", "undecided" where the interval holds the bound
	// or is unknown, "not judged" for a time from an emulated machine, or empty.
	Verdict string
}

// CheckClaims puts what was measured beside the claims, a row for each contender
// that a claim is about, and one for a claim that is about none.
func CheckClaims(d *bench.Data) (rows []ClaimRow) {
	for _, c := range Claims {
		before := len(rows)
		for _, who := range d.Plan.Contenders {
			if strings.HasPrefix(who.VMM, c.VMM) {
				rows = append(rows, c.check(d, who))
			}
		}
		if len(rows) == before {
			rows = append(rows, ClaimRow{Claim: c, NotMeasured: c.VMM + " took no part"})
		}
	}
	return rows
}

func (c Claim) check(d *bench.Data, who bench.Contender) ClaimRow {
	row := ClaimRow{Claim: c, Contender: who.VMM, On: who.On, Label: who.Label}
	row.Measured = stat.Summarize(d.Samples(who.VMM, who.On, c.Part, "", c.Metric, false))
	if row.Measured.N == 0 {
		row.NotMeasured = d.Missing(who, c.Part)
		if row.NotMeasured == "" {
			row.NotMeasured = fmt.Sprintf("no run gave %s", c.Metric)
		}
		return row
	}
	row.Verdict = verdict(c.Bound, row.Measured.Interval)
	if who.Label == bench.Nested && strings.HasSuffix(c.Metric, "-sec") {
		row.Verdict = "not judged" // an emulated machine's times say nothing of hardware
	}
	return row
}

func verdict(bound float64, i stat.Interval) string {
	switch {
	case i.Finite() && i.Hi <= bound:
		return "met"
	case i.Finite() && i.Lo > bound:
		return "not met"
	}
	return "undecided"
}
