package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/mtree"
	"virtlab/harness/pagewalk"
	"virtlab/harness/qmp"
)

// L2 boots a guest inside l1.
func (l *Lab) L2(l1 *guest.Guest, opts ...Option) *guest.Guest {
	l.t.Helper()
	return l.Boot(l1, "L2", append([]Option{MemoryMiB(256)}, opts...)...)
}

// HostPages makes the machine back its guests with small pages (4 KiB) or, as
// far as they are aligned, with large ones (2 MiB), through transparent huge
// pages (Documentation/admin-guide/mm/transhuge.rst).
func (l *Lab) HostPages(on machine.Machine, large bool) {
	l.t.Helper()
	mode := "never"
	if large {
		mode = "always"
	}
	const knob = "/sys/kernel/mm/transparent_hugepage/enabled"
	l.must(on.WriteFile(l.Ctx, knob, strings.NewReader(mode), 0o644))
}

// HasLA57 says whether a guest's CPU offers 5-level paging.
func (l *Lab) HasLA57(g *guest.Guest) bool {
	l.t.Helper()
	flags, err := cpuFlags(l.Ctx, g)
	l.must(err)
	return slices.Contains(flags, "la57")
}

// Nonce draws a number for the module to write.
func (l *Lab) Nonce() uint64 { return uint64(l.Rand.Uint32()) }

// Dump is what the two kernels printed for one load of the module.
type Dump struct {
	GuestLog string
	HostLog  string
}

// DumpWalk loads gpt-dump in L2 with params and gives what L2 printed and what
// KVM in L1 printed because of it. The module stays loaded, so that its memory
// can be looked at from outside, until the next DumpWalk.
func (l *Lab) DumpWalk(l1, l2 *guest.Guest, params ...string) Dump {
	l.t.Helper()
	const module, file = "gpt-dump", wire.ModuleDir + "/gpt-dump.ko"
	l.must(machine.Upload(l.Ctx, l2, filepath.Join(Assets().Modules, module+".ko"), file))
	// Not loaded the first time: that is no fault.
	_, _ = machine.Run(l.Ctx, l2, "rmmod", module)
	guestLog, hostLog := l.newDmesg(l2), l.newDmesg(l1)
	l.must(l2.Modprobe(l.Ctx, file, params...))
	d := Dump{GuestLog: guestLog(), HostLog: hostLog()}
	l.Keep("gpt-dump.txt", d.GuestLog)
	l.Keep("ept-dump.txt", d.HostLog)
	return d
}

// newDmesg gives a function that returns what a kernel has printed since.
func (l *Lab) newDmesg(g *guest.Guest) func() string {
	read := func() string {
		l.t.Helper()
		s, err := g.Dmesg(l.Ctx)
		l.must(err)
		return s
	}
	before := read()
	return func() string { return strings.TrimPrefix(read(), before) }
}

// Pair parses the two logs and puts the guest's walk and the host's walk of its
// GPA together.
func (d Dump) Pair() (pagewalk.Pair, error) {
	guestLog, err := pagewalk.ParseGuest(d.GuestLog)
	if err != nil {
		return pagewalk.Pair{}, fmt.Errorf("the guest's log: %w\n%s", err, d.GuestLog)
	}
	hostLog, err := pagewalk.ParseHost(d.HostLog)
	if err != nil {
		return pagewalk.Pair{}, fmt.Errorf("the host's log: %w\n%s", err, d.HostLog)
	}
	pairs := pagewalk.Pairs(guestLog, hostLog)
	if len(pairs) != 1 {
		return pagewalk.Pair{}, fmt.Errorf("no walk of the host begins where the guest's ends:\n%s\n%s", d.GuestLog, d.HostLog)
	}
	return pairs[0], nil
}

// Pair is the dump's pair of walks.
func (l *Lab) Pair(d Dump) pagewalk.Pair {
	l.t.Helper()
	p, err := d.Pair()
	l.must(err)
	return p
}

// Witness does the whole two-dimensional walk from outside, in the memory of L1
// as the monitor of the machine underneath shows it, and compares every entry
// and value that was printed. L1 stands still meanwhile.
func (l *Lab) Witness(l1 *guest.Guest, p pagewalk.Pair) pagewalk.Matrix {
	l.t.Helper()
	m := l.monitor(l1)
	l.must(m.Stop(l.Ctx))
	defer func() { l.must(m.Cont(l.Ctx)) }()
	matrix, err := pagewalk.TwoDimensional(l.Ctx, physical{m}, p)
	l.must(err)
	list, err := json.MarshalIndent(struct {
		Pair   pagewalk.Pair
		Matrix pagewalk.Matrix
	}{p, matrix}, "", "  ")
	l.must(err)
	l.Keep("walk.json", string(list))
	l.Keep("walk.txt", matrix.Table())
	return matrix
}

// Interrupted runs f while g is stopped and continued through its monitor, over
// and over: whatever runs in g must not notice.
func (l *Lab) Interrupted(g *guest.Guest, f func()) {
	l.t.Helper()
	m := l.monitor(g)
	ctx, cancel := context.WithCancel(l.Ctx)
	stopped := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = errors.Join(m.Stop(l.Ctx), m.Cont(l.Ctx))
		}
		stopped <- err
	}()
	defer func() {
		cancel()
		l.must(<-stopped)
	}()
	f()
}

func (l *Lab) monitor(g *guest.Guest) *qmp.Monitor {
	l.t.Helper()
	m, err := g.Monitor(l.Ctx)
	l.must(err)
	return m
}

// physical reads a guest's physical memory through its VMM's monitor.
type physical struct{ monitor *qmp.Monitor }

func (p physical) ReadPhys(ctx context.Context, addr uint64) (uint64, error) {
	v, err := p.monitor.ReadPhys(ctx, addr)
	var hmp *qmp.HMPError
	if errors.As(err, &hmp) {
		return 0, fmt.Errorf("%w: %w", pagewalk.ErrNoMemory, err)
	}
	return v, err
}

// MemoryTree is QEMU's MemoryRegion tree of g, as `info mtree` prints it.
func (l *Lab) MemoryTree(g *guest.Guest) *mtree.Tree {
	l.t.Helper()
	text, err := l.monitor(g).HMP(l.Ctx, "info mtree")
	l.must(err)
	l.Keep("mtree.txt", text)
	tree, err := mtree.Parse(text)
	l.must(err)
	return tree
}
