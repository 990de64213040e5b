package harness

import (
	"flag"

	"virtlab/harness/debian"
	"virtlab/harness/machine"
	"virtlab/harness/vmm"
)

var imageFlag = flag.String("image", "", "disk image of a Debian (qcow2 or raw, never written to): the course's cloud image")

// Image is the disk image that -image names; empty: none.
func Image() string { return *imageFlag }

// BootImage boots a disk image on the host and returns once the user lab is let
// in; it ends with the test. On pc and q35 the image's own boot loader and kernel
// run, on microvm, which has no BIOS, the lab kernel.
func (l *Lab) BootImage(file, name string, typ vmm.MachineType) *debian.Guest {
	l.t.Helper()
	disk, err := debian.Open(file)
	l.must(err)
	g, err := debian.Boot(l.Ctx, imageConfig(disk, name, l.Evidence, typ))
	l.must(err)
	l.t.Cleanup(func() { _ = g.Close() })
	return g
}

// imageConfig is an image on a machine of the comparison.
func imageConfig(disk debian.Disk, name, evidence string, typ vmm.MachineType) debian.Config {
	a := Assets()
	c := debian.Config{
		Name: name, Disk: disk, Evidence: evidence, VCPUs: 1, MemoryMiB: 1024,
		QEMU: vmm.QEMU{Type: typ, Binary: a.QEMU, Firmware: a.Firmware, TSCkHz: machine.TSCkHz()},
	}
	c.Accel, _ = Accel()
	// A disk without partitions has no boot loader.
	if typ == vmm.MicroVM || disk.Root == "/dev/vda" {
		c.Kernel = a.BzImage
	}
	return c
}
