// Package debian boots disk images of whole distributions, foremost the course's
// Debian cloud image, and reaches them as a student does: by SSH over QEMU's user
// network.
package debian

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// The user of every image, as in the course's cloud-config.
const (
	User     = "lab"
	Password = "p"
)

// Format is the format of a disk image, by its name in QEMU's options.
type Format string

const (
	QCOW2 Format = "qcow2"
	Raw   Format = "raw"
)

// Disk is a disk image and what is on it.
type Disk struct {
	Path   string
	Format Format
	// Root is the root file system's device on a virtio-blk disk: the first
	// partition, as on Debian's cloud images, or all of a disk without partitions.
	Root string
}

// Where to look in a disk image.
const (
	ext4Magic  = 1024 + 56 // superblock, s_magic (Documentation/filesystems/ext4)
	headLength = ext4Magic + 2
)

// Open looks at the disk image at path.
func Open(path string) (Disk, error) {
	f, err := os.Open(path)
	if err != nil {
		return Disk{}, result.Errorf(result.Host, "the disk image: %w", err)
	}
	defer f.Close()
	head := make([]byte, headLength)
	if _, err := io.ReadFull(f, head); err != nil {
		return Disk{}, result.Errorf(result.Host, "the disk image %s: %w", path, err)
	}
	d, err := recognize(head)
	d.Path = path
	if err != nil {
		return Disk{}, result.Errorf(result.Host, "the disk image %s: %w", path, err).
			WithHint("convert it: qemu-img convert -O qcow2 %s NEW.qcow2", machine.CommandLine(path))
	}
	return d, nil
}

// recognize tells formats by their first bytes, of which head has headLength.
func recognize(head []byte) (Disk, error) {
	switch {
	case bytes.HasPrefix(head, []byte("QFI\xfb")): // docs/interop/qcow2.txt
		return Disk{Format: QCOW2, Root: "/dev/vda1"}, nil
	case bytes.HasPrefix(head, []byte("KDMV")), bytes.HasPrefix(head, []byte("# Disk DescriptorFile")):
		return Disk{}, errors.New("VMDK, which this QEMU does not read")
	case bytes.HasPrefix(head, []byte("conectix")), bytes.HasPrefix(head, []byte("vhdxfile")), bytes.HasPrefix(head, []byte("<<< ")):
		return Disk{}, errors.New("a format of another virtual machine monitor")
	case bytes.HasPrefix(head, []byte("\xfd7zXZ")), bytes.HasPrefix(head, []byte("\x1f\x8b")), bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return Disk{}, errors.New("packed: unpack it first")
	case binary.LittleEndian.Uint16(head[ext4Magic:]) == 0xef53:
		return Disk{Format: Raw, Root: "/dev/vda"}, nil
	case head[510] == 0x55 && head[511] == 0xaa: // MBR, also in front of a GPT
		return Disk{Format: Raw, Root: "/dev/vda1"}, nil
	default:
		return Disk{}, errors.New("neither qcow2 nor a raw disk with partitions or ext4 on it")
	}
}

// Config is an image to boot.
type Config struct {
	Name string // for messages and evidence files
	Disk Disk   // never written to: what the guest writes is gone with it
	QEMU vmm.QEMU
	// Accel, VCPUs and MemoryMiB are as in vmm.Config.
	Accel     vmm.Accel
	VCPUs     int
	MemoryMiB int
	// Kernel is the lab kernel. Empty: the image's own, by its boot loader, which
	// takes a machine with a BIOS: pc or q35.
	Kernel string
	// Evidence is a directory for NAME.console.txt and NAME.cmdline.txt; empty: none.
	Evidence string
}

// Files in the private directory of a guest.
const (
	monitorSocket = "/qmp"
	seedImage     = "/seed.iso"
)

// Command is QEMU's command line for c, with sockets and seed in dir. Writes to
// the disk go to a temporary file of QEMU's (snapshot=on). The guest is reached by
// a port of this machine that QEMU chooses, and reaches nobody (restrict=on).
func (c Config) Command(dir string) ([]string, error) {
	if c.Kernel == "" && c.QEMU.Type == vmm.MicroVM {
		return nil, result.Errorf(result.Host, "%s: microvm has no BIOS to start a boot loader: it needs the lab kernel", c.Name)
	}
	if strings.ContainsAny(c.Disk.Path, ",\n") {
		return nil, result.Errorf(result.Host, "the path %q has a comma or line break, which QEMU's options cannot carry", c.Disk.Path)
	}
	a, err := c.machine(dir)
	if err != nil {
		return nil, err
	}
	return append(a,
		"-drive", fmt.Sprintf("if=none,id=root,format=%s,file=%s,snapshot=on", c.Disk.Format, c.Disk.Path),
		"-device", c.virtio("blk")+",drive=root",
		"-drive", "if=none,id=seed,format=raw,readonly=on,file="+dir+seedImage,
		"-device", c.virtio("blk")+",drive=seed",
		"-netdev", "user,id=net,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:0-:22",
		"-device", c.network(),
		// Programs in the guest must not wait for entropy.
		"-device", c.virtio("rng"),
	), nil
}

// machine is the command line up to the devices.
func (c Config) machine(dir string) ([]string, error) {
	m := vmm.Config{
		Accel: c.Accel, VCPUs: c.VCPUs, MemoryMiB: c.MemoryMiB, Monitor: dir + monitorSocket,
		Kernel: c.Kernel, Cmdline: []string{"root=" + c.Disk.Root, "rw"},
	}
	if c.Kernel != "" {
		return c.QEMU.Command(m)
	}
	// The driver knows no machine without a kernel: it gets one, which is taken out.
	m.Kernel = "none"
	a, err := c.QEMU.Command(m)
	return without(a, "-kernel", "-append"), err
}

// without takes options and their values out of a command line.
func without(argv []string, options ...string) (out []string) {
	for i := 0; i < len(argv); i++ {
		drop := false
		for _, o := range options {
			drop = drop || argv[i] == o
		}
		if drop {
			i++
			continue
		}
		out = append(out, argv[i])
	}
	return out
}

// virtio names a virtio device for the machine's bus.
func (c Config) virtio(kind string) string {
	if c.QEMU.Type == vmm.MicroVM {
		return "virtio-" + kind + "-device"
	}
	return "virtio-" + kind + "-pci"
}

// network is the network card; on PCI without the boot ROM that our QEMU has not got.
func (c Config) network() string {
	d := c.virtio("net") + ",netdev=net"
	if c.QEMU.Type != vmm.MicroVM {
		d += ",romfile="
	}
	return d
}
