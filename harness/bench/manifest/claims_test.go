package manifest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
)

// booted is a benchmark of StratoVirt on L1, and on the host, where it is
// missing; every run took the time to init and gave nothing else.
func booted(seconds ...float64) *bench.Data {
	d := &bench.Data{Plan: bench.Plan{Contenders: []bench.Contender{
		{VMM: "stratovirt", On: "L1"}, {VMM: "stratovirt", On: "host", Missing: "no KVM"}, {VMM: "qemu-pc", On: "L1"},
	}}}
	for i, s := range seconds {
		run := bench.Run{Index: i, Block: i, VMM: "stratovirt", On: "L1", Part: bench.Boot}
		d.Plan.Runs = append(d.Plan.Runs, run)
		d.Results = append(d.Results, bench.Result{Run: run, Samples: []bench.Sample{{Metric: "init-sec", Value: s}}})
	}
	return d
}

func TestCheckClaims(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds []float64
		verdict string
	}{
		{"met", []float64{0.040, 0.041, 0.042, 0.043, 0.044, 0.045}, "met"},
		{"not met", []float64{0.2, 0.21, 0.22, 0.23, 0.24, 0.25}, "not met"},
		{"on both sides", []float64{0.04, 0.06, 0.04, 0.06, 0.04, 0.06}, "undecided"},
		{"too few runs", []float64{0.04, 0.04, 0.04}, "undecided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := CheckClaims(booted(tt.seconds...))
			require.Len(t, rows, 6, "two claims on two machines, and two of a VMM that is not there")
			boot := rows[0]
			assert.Equal(t, "stratovirt", boot.Contender)
			assert.Equal(t, len(tt.seconds), boot.Measured.N)
			assert.Equal(t, tt.verdict, boot.Verdict)
			assert.Empty(t, boot.NotMeasured)

			assert.Equal(t, "no KVM", rows[1].NotMeasured)
			assert.Equal(t, "no run gave own-rss-B", rows[2].NotMeasured)
			assert.Equal(t, "firecracker took no part", rows[4].NotMeasured)
			for _, r := range rows[1:] {
				assert.Empty(t, r.Verdict)
				assert.Zero(t, r.Measured.N)
			}
		})
	}
}

// What an emulated machine takes does not refute a claim, nor does it meet one.
func TestCheckClaimsNested(t *testing.T) {
	d := booted(2.0, 2.1, 2.2, 2.3, 2.4, 2.5)
	d.Plan.Contenders[0].Label = bench.Nested
	boot := CheckClaims(d)[0]
	assert.Equal(t, bench.Nested, boot.Label)
	assert.Equal(t, "not judged", boot.Verdict)
	assert.Equal(t, 6, boot.Measured.N)
}

// A claim is held against a metric that there is.
func TestClaimsNameMetrics(t *testing.T) {
	for _, c := range Claims {
		assert.True(t, slices.ContainsFunc(bench.Metrics, func(m bench.Metric) bool { return m.Part == c.Part && m.Unit == c.Metric }), c.Text)
		assert.Positive(t, c.Bound)
		assert.NotEmpty(t, c.How)
	}
}
