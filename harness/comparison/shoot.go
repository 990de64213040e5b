package comparison

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

	"virtlab/harness/bench"
	"virtlab/harness/guest/wire"
	"virtlab/harness/job"
	"virtlab/harness/machine"
	"virtlab/harness/shot"
	"virtlab/harness/vmm"
)

// Where contenders run.
const (
	onHost = "host"
	onL1   = "L1"
)

const (
	// comparedMiB is the guest RAM of the comparison: the course's 1 GiB.
	comparedMiB = 1024
	// nonce pages by which guest RAM is found in the VMM: enough that they are not
	// all next to each other.
	noncePages = 16
	// markerBytes are those of PID 1's marker, the line that ends "exec to init".
	markerBytes = len(wire.Marker + "\n")
)

// shooter has the machines that are open, and the VMMs. It is a bench.Shooter.
type shooter struct {
	contenders []contender
	parts      []bench.Part
	fields     map[string]*field
	dir        string // of the results
}

// Shoot runs one VMM.
func (s *shooter) Shoot(ctx context.Context, run bench.Run, cells []job.Cell) (*shot.Outcome, error) {
	i := slices.IndexFunc(s.contenders, func(c contender) bool { return c.VMM == run.VMM && c.On == run.On })
	if i < 0 {
		return nil, fmt.Errorf("the plan has %s on %s, which is not among the VMMs of this run: give the flags of the first", run.VMM, run.On)
	}
	f, err := s.field(ctx, run.On)
	if err != nil {
		return nil, err
	}
	dir, err := f.machine.TempDir(ctx)
	if err != nil {
		return nil, err
	}
	defer f.machine.RemoveAll(context.WithoutCancel(ctx), dir)
	spec, err := s.contenders[i].spec(f, dir, run, cells)
	if err != nil {
		return nil, err
	}
	out, err := shot.On(ctx, f.machine, f.virtlab, spec)
	f.written = ""
	if err == nil && out.Fault == "" && !usesDisk(run.Part) {
		f.written = f.templates[run.Part]
	}
	if err == nil && out.Fault != "" {
		err = s.keep(run, spec, out)
	}
	return out, err
}

// keep writes down what there is to see of a run that failed.
func (s *shooter) keep(run bench.Run, spec shot.Spec, out *shot.Outcome) error {
	dir := filepath.Join(s.dir, "failed")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("%v: %s\n\n%s\n\n%s\n", run, out.Fault, machine.CommandLine(spec.Argv...), strings.Join(out.Tail, "\n"))
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("run-%d.txt", run.Index)), []byte(text), 0o644)
}

// field opens a machine when it is first used.
func (s *shooter) field(ctx context.Context, on string) (*field, error) {
	if f := s.fields[on]; f != nil {
		return f, nil
	}
	open := openHost
	if on == onL1 {
		open = openL1
	}
	f, err := open(ctx, s.parts)
	if err != nil {
		return nil, fmt.Errorf("making %s ready for the comparison: %w", on, err)
	}
	s.fields[on] = f
	return f, nil
}

func (s *shooter) close() error {
	var errs []error
	for _, f := range s.fields {
		errs = append(errs, f.end())
	}
	return errors.Join(errs...)
}

// usesDisk tells whether a part's guest writes to the disk, which then has to be
// written anew for the next one.
func usesDisk(part bench.Part) bool { return part == bench.FileIO || part == bench.Debian }

// config is the virtual machine of a run: the same for every contender.
func (c contender) config(f *field, dir string, part bench.Part) vmm.Config {
	t := c.driver(f).Traits()
	cfg := vmm.Config{
		Accel: c.accel, VCPUs: 1, MemoryMiB: comparedMiB, Kernel: f.assets.BzImage,
		Disks: []vmm.Disk{{ID: "data", Path: f.disk, Direct: f.direct && t.Direct || !t.Buffered}},
	}
	if part == bench.Debian {
		cfg.Cmdline = []string{"root=/dev/vda", "rw", "virtlab.job=debian"}
	} else {
		cfg.Initramfs = dir + "/initramfs"
		cfg.Cmdline = []string{wire.Run + "=/bin/guestjob," + shot.JobFile}
		if usesDisk(part) {
			cfg.Cmdline = append(cfg.Cmdline, wire.Mount+"=/dev/vda:"+wire.ToolsDir)
		}
	}
	if part == bench.Instructions {
		cfg.ICount, cfg.Monitor = "shift=0,sleep=off", dir+"/qmp"
	}
	if t.NeedsMonitor {
		cfg.Monitor = dir + "/qmp"
	}
	if t.ConfigFile {
		cfg.ConfigFile = dir + "/config"
	}
	if !t.BzImage {
		cfg.Kernel = f.vmlinux
	}
	if t.Console == vmm.Socket {
		cfg.ConsoleSocket = dir + "/console"
	}
	return cfg
}

// spec is a run as the shot takes it.
func (c contender) spec(f *field, dir string, run bench.Run, cells []job.Cell) (shot.Spec, error) {
	driver := c.driver(f)
	cfg := c.config(f, dir, run.Part)
	argv, err := driver.Command(cfg)
	if err != nil {
		return shot.Spec{}, err
	}
	t := driver.Traits()
	s := shot.Spec{
		Argv: append(slices.Clone(c.wrap), argv...), Env: f.env,
		Console: shot.Console(t.Console), ConsolePath: cfg.ConsoleSocket,
		Disk:     &shot.Disk{Path: f.disk, Template: f.template(run.Part)},
		RAMBytes: comparedMiB << 20, KVM: c.accel == vmm.KVM,
		Timeout: patience(run), Silence: patience(run),
	}
	if job := c.job(run, cells, t); run.Part == bench.Debian {
		s.Disk.Job = job
	} else {
		s.Initramfs = &shot.Initramfs{Base: f.initramfs(run.Part), Path: cfg.Initramfs, Job: job}
	}
	if run.Part == bench.Instructions {
		s.ICountMonitor = cfg.Monitor
	}
	if t.End != vmm.Halt {
		s.Grace = 20 * time.Second
	}
	if filer, ok := driver.(vmm.Filer); ok {
		s.Files, err = filer.Files(cfg)
	}
	return s, err
}

// job is what the guest does in a run.
func (c contender) job(run bench.Run, cells []job.Cell, t vmm.Traits) *job.Spec {
	j := &job.Spec{Cells: cells, End: job.End(t.End)}
	switch run.Part {
	case bench.Boot:
		j.Pages, j.Nonce, j.Hold, j.MarkerBytes = noncePages, rand.Uint64(), 300*time.Millisecond, markerBytes
	case bench.Debian:
		j.Systemd = true
	default:
		j.Settle = 100 * time.Millisecond
	}
	return j
}

// patience is how long a run may take: many times what it is expected to, as
// a busy machine is no fault of a VMM's.
func patience(run bench.Run) time.Duration {
	return 2*time.Minute + time.Duration(10*run.Seconds*float64(time.Second))
}
