package labs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/gradetest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/sysbench"
)

// Experiment 4: comparison of VMMs. The matrices of the course are
// sub-benchmarks; /vmm= comes first, so that `benchstat -col /vmm` compares.

// BenchmarkBoot is the time from the VMM's exec to the guest's first answer.
func BenchmarkBoot(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		for b.Loop() {
			guest := lab.BenchBoot(vmm)
			b.StopTimer()
			require.NoError(b, guest.Close())
			b.StartTimer()
		}
	})
}

// BenchmarkMemory is what the VMM's process takes after the boot of a guest
// with 1 GiB.
func BenchmarkMemory(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		for b.Loop() {
			guest := lab.BenchBoot(vmm)
			m := lab.VMMMemory(guest)
			b.ReportMetric(float64(m.Virtual), "virtual-B")
			b.ReportMetric(float64(m.RSS), "rss-B")
			b.ReportMetric(float64(m.PSS), "pss-B")
			b.ReportMetric(float64(m.USS), "uss-B")
			b.ReportMetric(float64(m.RSS-m.Guest), "own-B")
			b.ReportMetric(0, "ns/op")
			require.NoError(b, guest.Close())
		}
	})
}

// BenchmarkSysbenchCPU: 1, 4, 16, 32 and 64 threads look for primes.
func BenchmarkSysbenchCPU(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		guest := lab.BenchGuest(vmm)
		for _, cell := range sysbench.CourseCPU() {
			b.Run(cell.Name(), func(b *testing.B) {
				for b.Loop() {
					lab.In(b).SysbenchCPU(b, guest, cell)
				}
			})
		}
	})
}

// BenchmarkSysbenchMemory: blocks of 1k to 8k, in order and at random.
func BenchmarkSysbenchMemory(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		guest := lab.BenchGuest(vmm)
		for _, cell := range sysbench.CourseMemory() {
			b.Run(cell.Name(), func(b *testing.B) {
				for b.Loop() {
					lab.In(b).SysbenchMemory(b, guest, cell)
				}
			})
		}
	})
}

// BenchmarkSysbenchFileIO: 1 x 4k, 32 x 128k and 32 x 4k; reading and writing,
// in order and at random.
func BenchmarkSysbenchFileIO(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		guest := lab.BenchGuest(vmm)
		for _, cell := range sysbench.CourseFileIO() {
			b.Run(cell.Name(), func(b *testing.B) {
				lab.In(b).PrepareFileIO(guest, cell) // seqwr leaves its files short
				for b.Loop() {
					lab.In(b).SysbenchFileIO(b, guest, cell)
				}
			})
		}
	})
}

// BenchmarkHarness is what the harness adds to a boot: the time to the first
// command's output, over the whole run of the bare VMM with the same kernel and
// initramfs. The two alternate, so that a busy machine slows both.
func BenchmarkHarness(b *testing.B) {
	forEachVMM(b, func(b *testing.B, lab *harness.Lab, vmm harness.Contender) {
		var raw, ours time.Duration
		for b.Loop() {
			raw += lab.RawBoot(vmm)
			start := time.Now()
			guest := lab.BenchBoot(vmm)
			_, err := machine.Run(lab.Ctx, guest, "uname")
			ours += time.Since(start)
			require.NoError(b, err)
			require.NoError(b, guest.Close())
		}
		b.ReportMetric(raw.Seconds()/float64(b.N), "raw-sec")
		b.ReportMetric(ours.Seconds()/float64(b.N), "first-command-sec")
		b.ReportMetric(ours.Seconds()/raw.Seconds(), "x-raw")
		b.ReportMetric(0, "ns/op")
	})
}

func forEachVMM(b *testing.B, run func(*testing.B, *harness.Lab, harness.Contender)) {
	harness.StateComparison()
	for _, vmm := range harness.VMMs() {
		b.Run("vmm="+vmm.Name, func(b *testing.B) { run(b, harness.New(b), vmm) })
	}
}

// The measurements as they are handed in: a student's, or the reference's.
func TestBenchSubmission(t *testing.T) {
	t.Parallel()
	gradetest.Submission(t, result.Bench)
}

// Tables that have a hole, do not fit themselves, or are copied
// (fixtures/mutants/bench.toml).
func TestBenchMutants(t *testing.T) {
	t.Parallel()
	gradetest.Mutants(t, result.Bench)
}
