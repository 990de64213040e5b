package comparison

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"virtlab/harness"
	"virtlab/harness/bench"
	"virtlab/harness/build"
	"virtlab/harness/guest/wire"
	"virtlab/harness/image"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// field is a machine on which VMMs are compared, and what they find there. Paths
// are on that machine.
type field struct {
	on      string
	machine machine.Machine
	assets  *build.Assets
	virtlab string   // this program, which watches the VMM
	vmlinux string   // the kernel for VMMs that take no bzImage
	env     []string // for the VMMs
	disk    string   // what the guests get
	direct  bool     // the disk can be opened past the page cache
	// templates are the images to be written to disk, by part; written is the one
	// that it holds unchanged.
	templates map[bench.Part]string
	written   string
	end       func() error
}

// l1MiB is L1's memory: the compared guests' 1 GiB, the VMM's, and what L1 itself
// and its page cache take.
const l1MiB = 3072

// l1SpareMiB is the room on L1's disk beside the guests' disk, for the file system.
const l1SpareMiB = 64

// Where L1 mounts the disk of VMMs that were found on the host, and the one for
// the guests' disks.
const (
	vmmsDir    = "/vmms"
	scratchDir = "/scratch"
)

// openHost makes the host ready.
func openHost(ctx context.Context, parts []bench.Part) (*field, error) {
	a := harness.Assets()
	f := &field{on: onHost, machine: machine.Host, assets: a, virtlab: filepath.Join(a.Programs, "virtlab"), vmlinux: a.Vmlinux, end: func() error { return nil }}
	templates, err := templatesFor(ctx, parts)
	if err != nil {
		return nil, err
	}
	f.templates = templates
	if *diskFlag != "" {
		f.disk, f.direct = *diskFlag, true
		return f, nil
	}
	dir, err := machine.Host.TempDir(ctx)
	if err != nil {
		return nil, err
	}
	f.disk = filepath.Join(dir, "disk")
	f.end = func() error { return machine.Host.RemoveAll(context.WithoutCancel(ctx), dir) }
	f.direct = takesDirect(dir)
	return f, nil
}

// takesDirect tells whether files in dir can be opened past the page cache; on
// many kernels those of a tmpfs cannot.
func takesDirect(dir string) bool {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_DIRECT, 0o600)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// templatesFor are the images of the parts, on the host.
func templatesFor(ctx context.Context, parts []bench.Part) (map[bench.Part]string, error) {
	t := map[bench.Part]string{}
	for _, p := range parts {
		t[p] = harness.Assets().BenchDisk
		if p != bench.Debian {
			continue
		}
		img, err := debianImage(ctx)
		if err != nil {
			return nil, err
		}
		t[p] = img
	}
	return t, nil
}

// debianImage is the image of the Debian guest, which setup -debian makes. What
// takes seconds, our program in it, is made anew when its source changed.
func debianImage(ctx context.Context) (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	dir, err := build.DefaultDir()
	if err != nil {
		return "", err
	}
	cache, err := build.OpenCache(dir, io.Discard)
	if err != nil {
		return "", err
	}
	return build.FindDebianImage(ctx, root, cache)
}

// openL1 boots L1 with the images and a raw disk for the guests on it.
func openL1(ctx context.Context, parts []bench.Part) (*field, error) {
	templates, err := templatesFor(ctx, parts)
	if err != nil {
		return nil, err
	}
	dir, err := machine.Host.TempDir(ctx)
	if err != nil {
		return nil, err
	}
	f := &field{disk: scratchDir + "/disk", on: onL1, assets: build.GuestAssets(wire.ToolsDir), virtlab: wire.ToolsDir + "/bin/virtlab", vmlinux: vmmsDir + "/boot/vmlinux", direct: true, templates: map[bench.Part]string{}}
	clean := func() error { return machine.Host.RemoveAll(context.WithoutCancel(ctx), dir) }
	disks, err := l1Disks(ctx, dir, templates)
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	opts := []harness.Option{harness.MemoryMiB(l1MiB)}
	for _, d := range disks {
		opts = append(opts, harness.WithDisk(d))
	}
	if *diskFlag == "" {
		opts = append(opts, harness.Kernel(wire.Mount+"=data:"+scratchDir))
	}
	if _, err := os.Stat(filepath.Join(dir, "vmms")); err == nil {
		opts = append(opts, harness.Kernel(wire.Mount+"=vmms:"+vmmsDir))
		f.env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraryDirs(vmmsDir), ":")}
	}
	l1, err := harness.BootL1(ctx, opts...)
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	f.machine = l1
	f.end = func() error { return errors.Join(l1.Close(), clean()) }
	if err := f.findDisks(ctx, templates); err != nil {
		return nil, errors.Join(err, f.end())
	}
	return f, nil
}

// libraryDirs are where a disk of VMMs keeps their libraries.
func libraryDirs(dir string) []string {
	return []string{dir + "/lib/x86_64-linux-gnu", dir + "/usr/lib/x86_64-linux-gnu", dir + "/lib64", dir + "/lib"}
}

// l1Disks are L1's disks besides the tools: the images, read-only, the VMMs that
// were found on the host, and the disk of the guests.
func l1Disks(ctx context.Context, dir string, templates map[bench.Part]string) ([]vmm.Disk, error) {
	var disks []vmm.Disk
	var largest int64
	for path, id := range diskIDs(templates) {
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		largest = max(largest, st.Size())
		disks = append(disks, vmm.Disk{ID: id, Path: path, ReadOnly: true})
	}
	if vmms, err := vmmDisk(ctx, dir); err != nil {
		return nil, err
	} else if vmms != "" {
		disks = append(disks, vmm.Disk{ID: "vmms", Path: vmms, ReadOnly: true})
	}
	data := vmm.Disk{ID: "data", Path: *diskFlag, Direct: true}
	if data.Path == "" {
		data.Path, data.Direct = filepath.Join(dir, "data"), takesDirect(dir)
		data.NoFlush = true // gokvm flushes after each request: through L1 to a real disk that takes a minute a boot
		if err := image.WriteEmptyDisk(ctx, data.Path, largest>>20+l1SpareMiB); err != nil {
			return nil, err
		}
	}
	return append(disks, data), nil
}

// diskIDs names each image once.
func diskIDs(templates map[bench.Part]string) map[string]string {
	ids := map[string]string{}
	for part, path := range templates {
		ids[path] = "bench"
		if part == bench.Debian {
			ids[path] = "debian"
		}
	}
	return ids
}

// vmmDisk writes the VMMs that were found on the host, with their libraries, to
// an image; empty: none was found.
func vmmDisk(ctx context.Context, dir string) (string, error) {
	var tree image.Tree
	found := false
	for _, name := range []string{"stratovirt", "firecracker"} {
		path, err := foundVMM(name)
		if err != nil {
			continue // the contender says why it is missing
		}
		if err := tree.Program("/bin/"+name, path); err != nil {
			return "", err
		}
		found = true
	}
	if !found {
		return "", nil
	}
	if err := tree.File("/boot/vmlinux", harness.Assets().Vmlinux); err != nil {
		return "", err
	}
	img := filepath.Join(dir, "vmms")
	return img, tree.WriteDisk(ctx, img)
}

// findDisks finds L1's disks by their serial numbers.
func (f *field) findDisks(ctx context.Context, templates map[bench.Part]string) error {
	nodes := map[string]string{}
	for letter := 'a'; letter <= 'h'; letter++ {
		serial, err := f.machine.ReadFile(ctx, fmt.Sprintf("/sys/block/vd%c/serial", letter))
		if err == nil {
			nodes[string(bytes.TrimSpace(serial))] = fmt.Sprintf("/dev/vd%c", letter)
		}
	}
	ids := diskIDs(templates)
	for part, path := range templates {
		f.templates[part] = nodes[ids[path]]
	}
	if *diskFlag != "" {
		f.disk = nodes["data"]
	}
	if nodes["data"] == "" {
		return result.Errorf(result.Host, "L1 has no disk for its guests among %v", nodes)
	}
	return nil
}

// binary is where a VMM lies on the field.
func (f *field) binary(name string) string {
	switch {
	case f.assets == nil:
		return name
	case name == "gokvm":
		return f.assets.GoKVM
	case f.on == onL1:
		return vmmsDir + "/bin/" + name
	default:
		path, _ := foundVMM(name)
		return path
	}
}

// initramfs is what the guest of a part boots from: one that boots is not given
// what it does not use.
func (f *field) initramfs(part bench.Part) string {
	if part == bench.Boot {
		return f.assets.BenchBoot
	}
	return f.assets.BenchMeasure
}

// template is the image to be written to the disk before a part's guest starts;
// empty: the disk holds it.
func (f *field) template(part bench.Part) string {
	t := f.templates[part]
	if f.written == t {
		return ""
	}
	return t
}
