package comparison

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"virtlab/harness"
	"virtlab/harness/bench"
	"virtlab/harness/bench/manifest"
	"virtlab/harness/build"
	"virtlab/harness/sysbench"
	"virtlab/harness/vmm"
)

// describe writes the fairness manifest: what is equal for the contenders, what
// not. A comparison that is gone on with has one.
func (s *shooter) describe(ctx context.Context, store *bench.Store) error {
	if len(store.Data.Manifest) > 0 {
		return nil
	}
	common, err := commonInput(ctx, store.Data.Plan)
	if err != nil {
		return err
	}
	var m manifest.Manifest
	for _, c := range s.contenders {
		if c.Missing != "" {
			continue
		}
		f, err := s.field(ctx, c.On)
		if err != nil {
			return err
		}
		in, err := c.input(ctx, f, common)
		if err != nil {
			return err
		}
		m.Sides = append(m.Sides, manifest.Describe(in, func(path string) ([]byte, error) { return f.machine.ReadFile(ctx, path) }))
	}
	return store.SetManifest(m)
}

// commonInput is what is the same for all contenders.
func commonInput(ctx context.Context, plan bench.Plan) (in manifest.Input, err error) {
	a := harness.Assets()
	in = manifest.Input{MemoryMiB: comparedMiB, VCPUs: 1, Work: workOf(plan), GuestKernel: kernelRelease(a)}
	if in.Images, err = imagesOf(ctx, plan); err != nil {
		return in, err
	}
	if config, err := os.ReadFile(build.Kernel{Dir: a.Kernel}.Config()); err == nil {
		in.KernelConfig = string(config)
	}
	if version, err := exec.Command("sysbench", "--version").Output(); err == nil {
		in.Sysbench = strings.TrimSpace(string(version)) // the guest's is this one
	}
	return in, nil
}

// imagesOf are what the guests of a plan get beside the kernel.
func imagesOf(ctx context.Context, plan bench.Plan) (images []manifest.Image, err error) {
	a := harness.Assets()
	paths := []struct{ what, path string }{
		{manifest.BootInitramfs, a.BenchBoot}, {manifest.Initramfs, a.BenchMeasure}, {manifest.DiskImage, a.BenchDisk},
	}
	if slices.Contains(plan.Parts(), bench.Debian) {
		debian, err := debianImage(ctx)
		if err != nil {
			return nil, err
		}
		paths = append(paths, struct{ what, path string }{manifest.DebianImage, debian})
	}
	for _, p := range paths {
		file, err := manifest.HashFile(p.path)
		if err != nil {
			return nil, err
		}
		images = append(images, manifest.Image{What: p.what, File: file})
	}
	return images, nil
}

// kernelRelease is what uname -r says in the guests.
func kernelRelease(a *build.Assets) string {
	release, _ := os.ReadFile(filepath.Join(a.Kernel, "tree", "include/config/kernel.release"))
	return strings.TrimSpace(string(release))
}

// workOf is what the guests are given to do.
func workOf(plan bench.Plan) []manifest.Entry {
	f := sysbench.CourseFileIO()[0]
	data := fmt.Sprintf("%d MiB in %d files", f.TotalSize>>20, f.FileNum)
	if f.TotalSize < comparedMiB<<20 {
		data += ": smaller than the guest's memory, so that only direct I/O measures the disk"
	}
	return []manifest.Entry{
		{Key: "time of a cell", Value: plan.CellTime.String()},
		{Key: "fileio data set", Value: data},
		{Key: "fileio direct I/O (O_DIRECT in the guest)", Value: fmt.Sprint(f.Direct)},
		{Key: "fileio fsync", Value: fsyncPolicy(f)},
	}
}

func fsyncPolicy(f sysbench.FileIO) string {
	if f.FsyncFreq == 0 && !f.FsyncEnd {
		return "none, neither in between nor at the end"
	}
	return fmt.Sprintf("after every %d writes, at the end: %t", f.FsyncFreq, f.FsyncEnd)
}

// input is what the manifest says of a contender.
func (c contender) input(ctx context.Context, f *field, common manifest.Input) (manifest.Input, error) {
	in := common
	in.VMM, in.On, in.Label = c.VMM, c.On, c.Label
	driver := c.driver(f)
	// A run has a directory of its own for sockets; its name says nothing.
	cfg := c.config(f, "/run/virtlab", bench.CPU)
	argv, err := driver.Command(cfg)
	if err != nil {
		return in, err
	}
	in.Argv = append(slices.Clone(c.wrap), argv...)
	if filer, ok := driver.(vmm.Filer); ok {
		if in.Files, err = filer.Files(cfg); err != nil {
			return in, err
		}
	}
	if in.Version, err = vmm.Version(ctx, f.machine, driver); err != nil {
		in.Version = "" // the manifest says that it is not known
	}
	// L1's files come from the host.
	kernel, binary := c.onHost(harness.Assets())
	if in.Kernel, err = manifest.HashFile(kernel); err != nil {
		return in, err
	}
	in.Binary, err = manifest.HashFile(binary)
	return in, err
}

// onHost are the contender's kernel and binary on the host.
func (c contender) onHost(a *build.Assets) (kernel, binary string) {
	f := &field{on: onHost, assets: a, vmlinux: a.Vmlinux}
	return c.config(f, "", bench.CPU).Kernel, binaryOf(c.driver(f))
}

// binaryOf is the program of a driver.
func binaryOf(d vmm.Driver) string {
	switch d := d.(type) {
	case vmm.QEMU:
		return d.Binary
	case vmm.GoKVM:
		return d.Binary
	case vmm.StratoVirt:
		return d.Binary
	case vmm.Firecracker:
		return d.Binary
	}
	return ""
}
