package harness

import (
	"bytes"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/image"
	"virtlab/harness/machine"
	"virtlab/harness/sysbench"
	"virtlab/harness/vmm"
)

var (
	cellFlag   = flag.Duration("cell", time.Second, "how long one sysbench cell runs")
	courseFlag = flag.Bool("course", false, "run each sysbench cell for the course's 10 s")
)

// CellTime is how long one cell of a sysbench matrix runs.
func CellTime() time.Duration {
	if *courseFlag {
		return 10 * time.Second
	}
	return *cellFlag
}

// VMMs are the machines that are compared, by the name that results carry.
func VMMs() []Contender {
	return []Contender{
		{"qemu-pc", []Option{MachineType(vmm.PC)}},
		{"qemu-microvm", []Option{MachineType(vmm.MicroVM)}},
	}
}

// Contender is a VMM in the comparison and how it is configured.
type Contender struct {
	Name    string
	Options []Option
}

// options are what every contender's guest gets, then the guest's, then the
// contender's own.
func (c Contender) options(more ...Option) []Option {
	return slices.Concat([]Option{MemoryMiB(comparedMiB), VCPUs(1)}, more, c.Options)
}

// StateComparison prints, once in a run, what the comparison holds equal and
// what not: configuration lines of the Go benchmark format, the VMM's name and a
// dot before what belongs to one of them. benchstat splits its tables by lines
// that change in the course of a file, so none of these does.
var StateComparison = sync.OnceFunc(func() {
	for _, c := range VMMs() {
		for _, line := range c.statement() {
			fmt.Println(line)
		}
	}
	fileio := sysbench.CourseFileIO()[0]
	fmt.Printf("data-set: %dMiB\ndirect: %t\ntime: %s\n", fileio.TotalSize>>20, fileio.Direct, CellTime())
})

// statement is how the contender is configured.
func (c Contender) statement() []string {
	cfg := guestConfig(machine.Host, c.Name, "", c.options())
	kernel := filepath.Join(filepath.Base(filepath.Dir(cfg.Kernel)), filepath.Base(cfg.Kernel))
	return []string{
		fmt.Sprintf("%s.machine: %s", c.Name, cfg.Driver.(vmm.QEMU).Type),
		fmt.Sprintf("%s.memory: %dMiB", c.Name, cfg.MemoryMiB),
		fmt.Sprintf("%s.vcpus: %d", c.Name, cfg.VCPUs),
		fmt.Sprintf("%s.kernel: %s", c.Name, kernel),
		fmt.Sprintf("%s.accel: %s", c.Name, cfg.Accel),
	}
}

// comparedMiB is the guest RAM of the comparison: the course's 1 GiB.
const comparedMiB = 1024

// comparedDiskMiB of disk are for sysbench's files.
const comparedDiskMiB = 128

// BenchBoot boots the contender's guest and returns once it answers.
func (l *Lab) BenchBoot(c Contender) *guest.Guest {
	l.t.Helper()
	return l.BootHost(c.Name, c.options()...)
}

// BenchGuest boots the contender's guest with sysbench and an empty disk on
// /data. Every contender gets the same kernel, initramfs, disks and vCPUs.
func (l *Lab) BenchGuest(c Contender) *guest.Guest {
	l.t.Helper()
	disk := filepath.Join(l.t.TempDir(), "data.ext4")
	l.must(image.WriteEmptyDisk(l.Ctx, disk, comparedDiskMiB))
	return l.BootHost(c.Name, c.options(WithTools(),
		WithDisk(vmm.Disk{ID: "data", Path: disk, Direct: true}), Kernel(wire.Mount+"=data:/data"))...)
}

// VMMMemory is what the VMM of a guest of the comparison takes on the host.
func (l *Lab) VMMMemory(g *guest.Guest) bench.Memory {
	l.t.Helper()
	m, err := bench.ProcessMemory(g.Pid(), comparedMiB<<20)
	l.must(err)
	return m
}

// cell is one cell of a sysbench matrix.
type cell interface {
	Args() ([]string, error)
}

// Sysbench runs a cell in g and gives what sysbench printed.
func (l *Lab) Sysbench(g *guest.Guest, c cell) string {
	l.t.Helper()
	args, err := c.Args()
	l.must(err)
	var out bytes.Buffer
	p, err := g.Start(l.Ctx, machine.Cmd{Args: append([]string{"sysbench"}, args...), Dir: "/data", Stdout: &out, Stderr: &out})
	l.must(err)
	l.must(p.Wait(), "sysbench said:\n%s", out.String())
	return out.String()
}

// SysbenchCPU runs a cell of the cpu matrix and reports it.
func (l *Lab) SysbenchCPU(b *testing.B, g *guest.Guest, c sysbench.CPU) {
	b.Helper()
	c.Time = CellTime()
	r, err := c.Parse(l.Sysbench(g, c))
	require.NoError(b, err)
	b.ReportMetric(r.EventsPerSecond, "ops/s")
	b.ReportMetric(r.MeanMS()/1000, "mean-sec")
	b.ReportMetric(0, "ns/op")
}

// SysbenchMemory runs a cell of the memory matrix and reports it.
func (l *Lab) SysbenchMemory(b *testing.B, g *guest.Guest, c sysbench.Memory) {
	b.Helper()
	c.Time = CellTime()
	r, err := c.Parse(l.Sysbench(g, c))
	require.NoError(b, err)
	b.ReportMetric(r.MiBPerSecond*(1<<20), "B/s")
	b.ReportMetric(r.OperationsPerSecond, "ops/s")
	b.ReportMetric(0, "ns/op")
}

// SysbenchFileIO runs a cell of the fileio matrix and reports it. The files
// were made by PrepareFileIO.
func (l *Lab) SysbenchFileIO(b *testing.B, g *guest.Guest, c sysbench.FileIO) {
	b.Helper()
	c.Time = CellTime()
	r, err := c.Parse(l.Sysbench(g, c))
	require.NoError(b, err)
	b.ReportMetric(r.MiBPerSecond()*(1<<20), "B/s")
	b.ReportMetric(r.IOPS(), "ops/s")
	b.ReportMetric(r.Latency.P95MS/1000, "p95-sec")
	b.ReportMetric(0, "ns/op")
}

// PrepareFileIO writes the files that a cell of the fileio matrix reads and
// writes, as far as they are not there.
func (l *Lab) PrepareFileIO(g *guest.Guest, c sysbench.FileIO) {
	l.t.Helper()
	l.must(sysbench.CheckPhase(l.Sysbench(g, c.At(sysbench.Prepare))))
}

// RawBoot runs the VMM's bare command line with the kernel and initramfs of the
// labs and a PID 1 that runs uname and powers off: what booting costs without a
// harness around it. It returns the time from exec to exit.
func (l *Lab) RawBoot(c Contender) time.Duration {
	l.t.Helper()
	cfg := guestConfig(machine.Host, c.Name, "", c.options(Kernel(wire.Run+"=uname")))
	argv, err := cfg.Driver.Command(cfg.Config)
	l.must(err)
	start := time.Now()
	out, err := machine.Run(l.Ctx, machine.Host, argv...)
	took := time.Since(start)
	l.must(err)
	require.Contains(l.t, out, "Linux ", "the guest's uname came through: %s", fmt.Sprint(argv))
	return took
}
