package report

import (
	"strings"

	"virtlab/harness/bench"
	"virtlab/harness/bench/manifest"
)

// claimSection puts what the VMMs' makers claim beside what was measured.
func (v view) claimSection() section {
	s := section{ID: "claims", Title: "Claims"}
	t := &table{
		Title: "What is claimed, and what was measured", Prose: true,
		Head: []string{"claim", "how it was measured there", "measured here", "as", "verdict"},
	}
	labels := false
	for _, r := range manifest.CheckClaims(v.Data) {
		labels = labels || r.Label != "" && r.NotMeasured == ""
		t.add(r.By+": "+r.Text, r.How, measuredClaim(v, r), r.Gap, r.Verdict)
	}
	t.Notes = []string{"A claim is met or not met where the whole 95 % interval of the median is on one side of it."}
	if labels {
		t.Notes = append(t.Notes, "† "+bench.Nested+".")
	}
	s.addTable(t)
	return s
}

// measuredClaim is the number, or why there is none.
func measuredClaim(v view, r manifest.ClaimRow) string {
	who := strings.TrimSpace(r.Contender + " " + on(r.On))
	if r.NotMeasured != "" {
		return strings.TrimPrefix(who+": not measured: "+r.NotMeasured, ": ")
	}
	u := unitOf(r.Metric, r.Measured.Median)
	e := estimateOf(v.Samples(r.Contender, r.On, r.Part, "", r.Metric, false), u.Factor)
	if r.Label != "" {
		u.Name += " †"
	}
	return who + ": " + e.String() + " " + u.Name
}

func on(machine string) string {
	if machine == "" {
		return ""
	}
	return "on " + machine
}
