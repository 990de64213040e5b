package labs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/bench"
	"virtlab/harness/comparison"
	"virtlab/harness/gradetest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// Experiment 4: comparison of VMMs. What one of these benchmarks shows was
// measured together with what the others show: VMM after VMM in an order that is
// drawn anew each time, a fresh process each (docs/comparison.md). /vmm= comes
// first, so that `benchstat -col /vmm` compares.

// BenchmarkBoot: from the VMM's exec to the kernel's start, to init, and to the
// first program; what the VMM's process computed, and how often the guest left to
// it.
func BenchmarkBoot(b *testing.B) {
	comparison.Show(b, bench.Boot, "kernel-sec", "init-sec", "up-sec", "vmm-cpu-sec", "marker-sec", "boot-exits")
}

// BenchmarkMemory: what the VMM's process takes after the boot of a guest with
// 1 GiB: all of it, as pmap shows it, and without guest RAM.
func BenchmarkMemory(b *testing.B) {
	comparison.Show(b, bench.Boot, "virtual-B", "rss-B", "pss-B", "uss-B", "guest-rss-B",
		"own-virtual-B", "own-rss-B", "own-pss-B", "own-uss-B")
}

// BenchmarkMultiUser: a Debian 12 boots until systemd has nothing left to start.
func BenchmarkMultiUser(b *testing.B) {
	comparison.Show(b, bench.Debian, "init-sec", "multi-user-sec", "systemd-kernel-sec", "systemd-userspace-sec")
}

// BenchmarkSysbenchCPU: 1, 4, 16, 32 and 64 threads look for primes.
func BenchmarkSysbenchCPU(b *testing.B) {
	comparison.Show(b, bench.CPU, "events/s", "mean-sec", "exits/op")
}

// BenchmarkSysbenchMemory: blocks of 1k to 8k, in order and at random, one for all
// threads and one for each.
func BenchmarkSysbenchMemory(b *testing.B) {
	comparison.Show(b, bench.RAM, "B/s", "ops/s", "exits/op")
}

// BenchmarkSysbenchFileIO: 1 x 4k, 32 x 128k and 32 x 4k; reading and writing,
// in order and at random, past the page cache.
func BenchmarkSysbenchFileIO(b *testing.B) {
	comparison.Show(b, bench.FileIO, "B/s", "ops/s", "p95-sec", "exits/op")
}

// BenchmarkInstructions: what a boot and an operation execute. It does not depend
// on the machine's speed; only emulation can count it.
func BenchmarkInstructions(b *testing.B) {
	comparison.Show(b, bench.Instructions, "boot-instructions", "instructions/op")
}

// BenchmarkImage: the image that -image names, the course's cloud image, boots to
// multi-user: with its own boot loader and kernel on pc and q35, with the lab
// kernel on microvm.
func BenchmarkImage(b *testing.B) {
	if harness.Image() == "" {
		b.Skip("not measured: -image FILE names no image")
	}
	for _, machineType := range []vmm.MachineType{vmm.PC, vmm.Q35, vmm.MicroVM} {
		b.Run("vmm=qemu-"+string(machineType)+"/on=host", func(b *testing.B) {
			for b.Loop() {
				lab := harness.New(b)
				start := time.Now()
				guest := lab.BootImage(harness.Image(), "image", machineType)
				b.ReportMetric(time.Since(start).Seconds(), "login-sec")
				up, err := guest.Startup(lab.Ctx)
				require.NoError(b, err)
				b.ReportMetric(time.Since(start).Seconds(), "multi-user-sec")
				b.ReportMetric(up.Kernel.Seconds(), "systemd-kernel-sec")
				b.ReportMetric(up.Userspace.Seconds(), "systemd-userspace-sec")
				b.ReportMetric(0, "ns/op")
				require.NoError(b, guest.Close())
			}
		})
	}
}

// BenchmarkHarness is what the harness adds to a boot: the time to the first
// command's output, over the whole run of the bare VMM with the same kernel and
// initramfs. The two alternate, so that a busy machine slows both.
func BenchmarkHarness(b *testing.B) {
	for _, machineType := range []vmm.MachineType{vmm.PC, vmm.MicroVM} {
		b.Run("vmm=qemu-"+string(machineType), func(b *testing.B) {
			lab := harness.New(b)
			var raw, ours time.Duration
			for b.Loop() {
				raw += lab.RawBoot(machineType)
				start := time.Now()
				guest := lab.BootHost("harness", harness.MachineType(machineType))
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
