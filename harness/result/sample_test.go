package result_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

var update = flag.Bool("update", false, "write the goldens anew")

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test ./harness/result -update writes it")
	assert.Equal(t, string(want), string(got), "go test ./harness/result -update writes it anew")
}

// contract are the ids of all checks and their default points.
var contract = map[string]float64{
	"cpu.compiles": 2, "cpu.text": 5, "cpu.exits": 5, "cpu.end": 3, "cpu.transform": 10,
	"mem.guest-log": 8, "mem.host-log": 10, "mem.link": 7, "mem.module": 0, "mem.witness": 0,
	"io.device-builds": 3, "io.driver-builds": 3, "io.test-builds": 2, "io.loads": 3, "io.factorial": 3, "io.interrupt": 3,
	"io.dma": 3, "io.test-runs": 4, "io.function": 6,
	"bench.complete": 4, "bench.identities": 2, "bench.parity": 2, "bench.data-set": 1, "bench.repeats": 1,
	"report.read": 10,
}

func checks() (all []result.Check) {
	for id := range contract {
		lab, _, _ := strings.Cut(id, ".")
		all = append(all, result.Check{ID: id, Lab: result.Lab(lab), Title: "title of " + id})
	}
	return all
}

// verdict makes one of a check; points are all of them for a pass.
func verdict(id, title string, outcome result.Outcome, max float64, message string) result.Verdict {
	lab, _, _ := strings.Cut(id, ".")
	v := result.Verdict{
		Check:   result.Check{ID: id, Lab: result.Lab(lab), Title: title, Page: "docs/" + lab + ".md#what-is-checked"},
		Outcome: outcome, Max: max, Message: message, Seconds: 0.25,
		Replay: "make labs SUBMISSION=小明-518021910001.zip SEED=7",
	}
	if outcome == result.Pass {
		v.Points = max
	}
	return v
}

// sample is a report with one of everything.
func sample() *result.Report {
	r := &result.Report{
		Schema: result.ReportSchema, Name: "xiaoming-518021910001", Student: "小明", ID: "518021910001", Source: "小明-518021910001.zip",
		Digest: "sha256:4c1f0f3cbb0d8a6a1c0e2b8a3d2d0f2d0f4a1c1d7a5e8e2a4d3b2c1d0e9f8a7b", Harness: "v1.2.0-3-g1a2b3c4",
		Rubric: "sha256:77aa0f3cbb0d8a6a1c0e2b8a3d2d0f2d0f4a1c1d7a5e8e2a4d3b2c1d0e9f8a7b", Title: "Virtualization: the four labs",
		Seed: 18446744073709551615, Started: time.Date(2026, 11, 22, 17, 40, 3, 500, time.FixedZone("CST", 8*3600)), Seconds: 41.23456,
		Versions: map[string]string{"qemu": "7.2.22", "gcc": "12.2.0"},
		Files: []result.FileUse{
			{Path: "lab1/modified-qemu.c", Role: "mini VMM"}, {Path: "lab1/Makefile", Note: "build files are not used"},
			{Path: "lab3/edu_modified.c", Role: "edu device"}, {Path: "实验报告.pdf", Role: "report"},
		},
		Notes:  []string{"the zip held a zip, which was opened: lab3.zip"},
		Stages: []result.Stage{{Name: "boot L1", Seconds: 2.5}, {Name: "build QEMU with edu_modified.c", Seconds: 8.71}},
		Hand:   10,
	}
	r.Verdicts = append(cpuVerdicts(), ioVerdicts()...)
	for _, v := range r.Verdicts {
		if v.Lab != result.ByHand {
			r.Max += v.Max
		}
	}
	r.Sum()
	return r
}

func cpuVerdicts() []result.Verdict {
	compiles := verdict("cpu.compiles", "modified-qemu.c compiles", result.Pass, 2, "gcc made a program of it")
	compiles.Warnings = []string{"modified-qemu.c:41:9: warning: unused variable ‘i’ [-Wunused-variable]"}
	transform := verdict("cpu.transform", "transforms what was trapped", result.Fail, 10,
		"The bytes were changed at the trap boundary, and what came out is not their transform but the text the program knew.")
	transform.Expected, transform.Got = "HELLO, WQRLD?\n", "HELLO, WORLD!\n"
	transform.Difference = `byte 8: expected "Q", got "O"`
	transform.Evidence = []string{"evidence/cpu/transform/exits.json", "evidence/cpu/transform/output 100%.txt"}
	return []result.Verdict{
		compiles,
		verdict("cpu.text", "prints the guest's text, transformed", result.Pass, 5, `it printed "HELLO, WORLD!"`),
		transform,
	}
}

func ioVerdicts() []result.Verdict {
	function := verdict("io.function", "the new function answers", result.Pass, 6, "no edu-op.json: the device differs from the stock one, half the points")
	function.Points = 3
	return []result.Verdict{
		verdict("mem.module", "a module of one's own loads", result.NotGraded, 0, "no module was handed in"),
		verdict("io.interrupt", "raises interrupts", result.Broken, 3, "host: QEMU did not start: no space left on device"),
		verdict("io.test-runs", "the test program runs", result.NotGraded, 4, "test_modified.c is not among the files"),
		function,
		verdict("bench.parity", "same machine on both sides", result.Pass, 0.1+0.2, "all that is stated is the same"),
		verdict("report.read", "the report, read by a person", result.NotGraded, 10, "by hand: 实验报告.pdf"),
	}
}
