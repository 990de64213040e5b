package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// T is what a Lab needs of its test: *testing.T and *testing.B have it, and so
// has a check of package grade, which runs outside of go test.
type T interface {
	require.TestingT // Errorf, FailNow
	Name() string
	Context() context.Context
	Helper()
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	ArtifactDir() string
	Attr(key, value string)
}

// Lab is one test's view of the house: its deadline, its draw, its evidence.
type Lab struct {
	t   T
	Ctx context.Context
	// Rand draws from the run's seed and the test's name, so that one test
	// draws the same alone and among others.
	Rand *rand.Rand
	// Evidence is the directory that keeps what the test saw (go test -artifacts).
	Evidence string
}

// evidenceMargin is kept back from the test's deadline to end guests and write
// down what they said.
const evidenceMargin = 10 * time.Second

// New begins a lab test.
func New(t T) *Lab {
	t.Helper()
	ctx := t.Context()
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := d.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadlineCause(ctx, end.Add(-evidenceMargin), fmt.Errorf("the test's time is up (go test -timeout)"))
			t.Cleanup(cancel)
		}
	}
	return &Lab{t: t, Ctx: ctx, Rand: draw(t.Name()), Evidence: t.ArtifactDir()}
}

// In is the lab as seen by a subtest.
func (l *Lab) In(t T) *Lab { return New(t) }

// draw seeds a generator with the run's seed and a name.
func draw(name string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(Seed(), h))
}

// Keep writes evidence.
func (l *Lab) Keep(name, content string) {
	l.t.Helper()
	l.must(os.WriteFile(filepath.Join(l.Evidence, name), []byte(content), 0o644))
}

// TempDir is a directory of the host that ends with the test.
func (l *Lab) TempDir() string {
	l.t.Helper()
	return l.t.TempDir()
}

// Option shapes a guest before it boots.
type Option func(*guest.Config)

// MachineType chooses QEMU's machine: vmm.PC, vmm.Q35 or vmm.MicroVM.
func MachineType(m vmm.MachineType) Option {
	return onQEMU(func(q *vmm.QEMU) { q.Type = m })
}

// QEMUBinary runs another QEMU than the stock one.
func QEMUBinary(path string) Option {
	return onQEMU(func(q *vmm.QEMU) { q.Binary = path })
}

func onQEMU(f func(*vmm.QEMU)) Option {
	return func(c *guest.Config) {
		q := c.Driver.(vmm.QEMU)
		f(&q)
		c.Driver = q
	}
}

// MemoryMiB sets the size of guest RAM.
func MemoryMiB(n int) Option { return func(c *guest.Config) { c.MemoryMiB = n } }

// VCPUs sets the number of virtual CPUs.
func VCPUs(n int) Option { return func(c *guest.Config) { c.VCPUs = n } }

// Device adds a -device: "edu".
func Device(d string) Option {
	return func(c *guest.Config) { c.Devices = append(c.Devices, d) }
}

// PagingLevels chooses 4-level or 5-level paging for the guest (SDM vol. 3,
// 4.5): its CPU offers LA57 or does not.
func PagingLevels(n int) Option {
	return func(c *guest.Config) {
		c.CPU = "max"
		if c.Accel == vmm.KVM {
			c.CPU = "host"
		}
		if n == 5 {
			c.CPU += la57
		} else {
			c.CPU += ",la57=off"
		}
	}
}

const la57 = ",la57=on"

// FreeSleep makes the guest's time a function of its instructions, so that its
// sleeps cost nothing. Emulation only; elsewhere it changes nothing.
func FreeSleep() Option {
	return func(c *guest.Config) {
		if c.Accel == vmm.TCG {
			c.ICount = "shift=3,sleep=off"
		}
	}
}

// Kernel adds words to the kernel command line.
func Kernel(words ...string) Option {
	return func(c *guest.Config) { c.Cmdline = append(c.Cmdline, words...) }
}

// TraceTo is the file for what Trace switches on.
func TraceTo(file string) Option {
	return func(c *guest.Config) { c.TraceFile = file }
}

// Foreign is for a QEMU with someone else's code in it, before options that depend
// on the accelerator: it emulates, so that it needs no /dev/kvm, and gives up system
// calls (vmm.QEMU.Sandbox).
func Foreign() Option {
	return func(c *guest.Config) {
		c.Accel = vmm.TCG
		onQEMU(func(q *vmm.QEMU) { q.Sandbox = true })(c)
	}
}

// WithDisk adds a virtio-blk disk.
func WithDisk(d vmm.Disk) Option {
	return func(c *guest.Config) { c.Disks = append(c.Disks, d) }
}

// WithTools gives the guest the tools disk: QEMU, lspci, sysbench, modules.
func WithTools() Option {
	return func(c *guest.Config) {
		c.Disks = append(c.Disks, vmm.Disk{ID: "tools", Path: Assets().Tools, ReadOnly: true})
		c.Cmdline = append(c.Cmdline, wire.Mount+"=tools:"+wire.ToolsDir)
	}
}

// Boot boots a guest on a machine; it ends with the test. The guest's name
// names its evidence.
func (l *Lab) Boot(on machine.Machine, name string, opts ...Option) *guest.Guest {
	l.t.Helper()
	g, err := guest.Boot(l.Ctx, on, guestConfig(on, name, l.Evidence, opts))
	l.must(err)
	l.t.Cleanup(func() { _ = g.Close() })
	return g
}

// guestConfig is the small guest as everyone gets it, shaped by opts.
func guestConfig(on machine.Machine, name, evidence string, opts []Option) guest.Config {
	cfg := guest.Config{Name: name, Evidence: evidence, Driver: vmm.QEMU{}}
	cfg.Accel, cfg.VCPUs, cfg.MemoryMiB = vmm.KVM, 1, 256
	a := AssetsOn(on)
	q := vmm.QEMU{Type: vmm.MicroVM, Binary: a.QEMU, Firmware: a.Firmware}
	if on == machine.Host {
		cfg.Accel, _ = Accel()
		q.TSCkHz = machine.TSCkHz()
	} else {
		cfg.Stall = 2 * time.Minute // a guest in a guest under emulation
	}
	cfg.Driver = q
	cfg.Initramfs = a.Initramfs
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.Kernel == "" {
		cfg.Kernel = a.BzImage
		// Through PVH there is nothing to decompress; but it is Linux's
		// decompressor that turns 5-level paging on.
		if a.Vmlinux != "" && !strings.HasSuffix(cfg.CPU, la57) {
			cfg.Kernel = a.Vmlinux
		}
	}
	if cfg.Driver.(vmm.QEMU).Type == vmm.MicroVM {
		cfg.Cmdline = append(cfg.Cmdline, wire.Off+"=reboot")
	}
	return cfg
}

// L1 boots the machine that stands in for the student's own: a guest with a
// real KVM, with our hypercall 22 in it, and the tools disk.
func (l *Lab) L1(opts ...Option) *guest.Guest {
	l.t.Helper()
	l1, err := bootL1(l.Ctx, l.Evidence, opts...)
	l.must(err)
	l.t.Cleanup(func() { _ = l1.Close() })
	return l1
}

// BootL1 is L1 for programs that are not tests.
func BootL1(ctx context.Context, opts ...Option) (*guest.Guest, error) {
	if err := Prepare(); err != nil {
		return nil, err
	}
	return bootL1(ctx, "", opts...)
}

func bootL1(ctx context.Context, evidence string, opts ...Option) (*guest.Guest, error) {
	opts = append([]Option{MemoryMiB(1024), WithTools()}, opts...)
	l1, err := guest.Boot(ctx, machine.Host, guestConfig(machine.Host, "L1", evidence, opts))
	if err != nil {
		return nil, err
	}
	if err := loadKVM(ctx, l1); err != nil {
		return nil, errors.Join(err, l1.Close())
	}
	return l1, nil
}

// cpuFlags are the words of a machine's /proc/cpuinfo, the CPU's flags among them.
func cpuFlags(ctx context.Context, m machine.Machine) ([]string, error) {
	cpuinfo, err := m.ReadFile(ctx, "/proc/cpuinfo")
	return strings.Fields(string(cpuinfo)), err
}

// loadKVM loads the KVM module for the CPU that the guest sees.
func loadKVM(ctx context.Context, l1 *guest.Guest) error {
	flags, err := cpuFlags(ctx, l1)
	if err != nil {
		return err
	}
	for _, v := range []struct{ flag, module string }{{"svm", "kvm-amd"}, {"vmx", "kvm-intel"}} {
		if slices.Contains(flags, v.flag) {
			return l1.Modprobe(ctx, v.module)
		}
	}
	return fmt.Errorf("%s: its CPU offers neither SVM nor VMX: the KVM underneath has no nested virtualization; use -accel tcg", l1.Name())
}

// BootHost is Boot on the host.
func (l *Lab) BootHost(name string, opts ...Option) *guest.Guest {
	l.t.Helper()
	return l.Boot(machine.Host, name, opts...)
}

// TryBoot boots a guest on the host that may well fail to.
func (l *Lab) TryBoot(name string, opts ...Option) (*guest.Guest, error) {
	l.t.Helper()
	g, err := guest.Boot(l.Ctx, machine.Host, guestConfig(machine.Host, name, l.Evidence, opts))
	if err == nil {
		l.t.Cleanup(func() { _ = g.Close() })
	}
	return g, err
}

// KernelImage boots another kernel than the lab kernel.
func KernelImage(path string) Option { return func(c *guest.Config) { c.Kernel = path } }

// Stall sets how long a booting guest may be silent.
func Stall(d time.Duration) Option { return func(c *guest.Config) { c.Stall = d } }

// TroubleModule is the path of the module that makes a kernel fail, in the
// guest of TroubleGuest.
const TroubleModule = wire.ModuleDir + "/trouble.ko"

// TroubleGuest boots a guest with a module that makes its kernel fail.
func (l *Lab) TroubleGuest() *guest.Guest {
	l.t.Helper()
	g := l.BootHost("trouble")
	l.must(machine.Upload(l.Ctx, g, filepath.Join(Assets().Modules, "trouble.ko"), TroubleModule))
	return g
}

// failer is a T that wants the error itself, not its text.
type failer interface {
	FailWith(err error) // does not return
}

// must ends the test where the house failed. Such a test is an error, not a
// fail: its outcome says so, and the closing table shows it.
func (l *Lab) must(err error, message ...any) {
	l.t.Helper()
	if f, ok := l.t.(failer); ok && err != nil {
		f.FailWith(err)
	}
	if err != nil && result.OwnerOf(err) != result.Submission {
		l.t.Attr("outcome", "error")
	}
	require.NoError(l.t, err, message...)
}
