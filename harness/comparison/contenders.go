package comparison

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"virtlab/harness/bench"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// contender is a VMM in the comparison and what runs it.
type contender struct {
	bench.Contender
	accel  vmm.Accel
	wrap   []string // the program that starts it, with its first arguments
	driver func(f *field) vmm.Driver
}

// contenders are the VMMs of the comparison, the missing ones too. A VMM that
// knows only KVM runs on L1 where the host has none; there it meets the same
// QEMU, and only there they are compared.
func contenders(ctx context.Context, opts Options, hostAccel vmm.Accel) ([]contender, error) {
	var all []contender
	for _, name := range opts.VMMs {
		c, err := newContender(ctx, name, hostAccel)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	all = append(all, rivals(ctx, all, hostAccel)...)
	for _, w := range opts.Wraps {
		c, err := wrapped(all, w)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if _, err := debianImage(ctx); err != nil {
		for _, c := range all {
			c.Without[bench.Debian] = reason("", err)
		}
	}
	return slices.DeleteFunc(all, func(c contender) bool { return opts.On != "" && c.On != opts.On }), nil
}

// newContender finds a VMM, or the reason why it cannot be measured.
func newContender(ctx context.Context, name string, hostAccel vmm.Accel) (contender, error) {
	c := contender{accel: hostAccel}
	c.Without = map[bench.Part]string{}
	c.VMM, c.On = name, onHost
	if t, ok := strings.CutPrefix(name, "qemu-"); ok {
		c.driver = func(f *field) vmm.Driver { return f.qemu(vmm.MachineType(t)) }
		c.limit(vmm.QEMU{}.Traits())
		return c, nil
	}
	find, ok := kvmOnly[name]
	if !ok {
		return c, fmt.Errorf("there is no VMM %q", name)
	}
	if hostAccel != vmm.KVM {
		c.toL1()
	}
	driver, err := find(ctx)
	if err != nil {
		c.Missing = reason(name, err)
		return c, nil
	}
	c.driver = driver
	c.limit(driver(&field{}).Traits())
	return c, nil
}

// reason is why a VMM is missing, in one line that does not say so again.
func reason(name string, err error) string {
	var e *result.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	why := strings.TrimPrefix(e.Err.Error(), name+" is not measured: ")
	if e.Hint == "" {
		return why
	}
	return why + "; " + e.Hint
}

// kvmOnly finds the VMMs that do not emulate.
var kvmOnly = map[string]func(context.Context) (func(*field) vmm.Driver, error){
	"gokvm": func(context.Context) (func(*field) vmm.Driver, error) {
		return func(f *field) vmm.Driver { return vmm.GoKVM{Binary: f.binary("gokvm"), TSCkHz: machine.TSCkHz()} }, nil
	},
	"stratovirt": func(context.Context) (func(*field) vmm.Driver, error) {
		_, err := foundVMM("stratovirt")
		return func(f *field) vmm.Driver { return vmm.StratoVirt{Binary: f.binary("stratovirt")} }, err
	},
	"firecracker": func(ctx context.Context) (func(*field) vmm.Driver, error) {
		path, err := foundVMM("firecracker")
		if err != nil {
			return nil, err
		}
		// One whose version cannot be had gets the kernel that all of them take.
		version, _ := vmm.Version(ctx, machine.Host, vmm.Firecracker{Binary: path})
		bzImage := vmm.FirecrackerTakesBzImage(version)
		return func(f *field) vmm.Driver { return vmm.Firecracker{Binary: f.binary("firecracker"), BzImage: bzImage} }, nil
	},
}

// foundVMM is the path on the host of a VMM that we do not build.
func foundVMM(name string) (string, error) {
	return vmm.Find(name, map[string]string{"stratovirt": *stratoFlag, "firecracker": *fireFlag}[name])
}

// gokvmNested is what gokvm takes for a boot on an emulated L1, 14 to 30 s: it writes over
// all of guest RAM first.
const gokvmNested = 20 * time.Second

// toL1 moves the contender to L1.
func (c *contender) toL1() {
	c.On, c.accel, c.Label = onL1, vmm.KVM, bench.Nested
	if c.VMM == "gokvm" {
		c.Boot = gokvmNested
	}
}

// limit says which parts the contender has no part in.
func (c *contender) limit(t vmm.Traits) {
	if c.VMM == "gokvm" {
		c.Without[bench.FileIO] = "its disk loses interrupts when requests overlap, and the guest waits for ever"
		c.Without[bench.Debian] = "it boots no kernel without an initramfs"
	}
	if t.FileOnly && *diskFlag != "" {
		c.Missing = "its disk is a regular file, so it has none with -disk"
	}
	if c.accel != vmm.TCG {
		c.Without[bench.Instructions] = "KVM does not count instructions; TCG does"
	}
}

// rivals are the QEMUs on L1 that the KVM-only VMMs there are compared with.
func rivals(ctx context.Context, all []contender, hostAccel vmm.Accel) (on []contender) {
	if hostAccel == vmm.KVM || !slices.ContainsFunc(all, func(c contender) bool { return c.On == onL1 && c.Missing == "" }) {
		return nil
	}
	rival, err := newContender(ctx, "qemu-microvm", vmm.KVM)
	if err != nil {
		return nil
	}
	rival.toL1()
	return []contender{rival}
}

// wrapped is the VMM of a wrap once more, on the first machine where it runs.
func wrapped(all []contender, w Wrap) (contender, error) {
	i := slices.IndexFunc(all, func(c contender) bool { return c.VMM == w.VMM && c.wrap == nil })
	if i < 0 {
		return contender{}, result.Errorf(result.Host, "-wrap %s: that VMM is not among those compared", w.VMM).WithHint("name it in -vmms")
	}
	c := all[i]
	c.wrap = w.Argv
	c.VMM += "+" + filepath.Base(w.Argv[0])
	return c, nil
}

// qemu is the labs' own QEMU on the field.
func (f *field) qemu(t vmm.MachineType) vmm.QEMU {
	q := vmm.QEMU{Type: t, Binary: f.assets.QEMU, Firmware: f.assets.Firmware}
	if f.on == onHost {
		q.TSCkHz = machine.TSCkHz()
	}
	return q
}
