package build

import (
	"encoding/json"
	"os"
	"path/filepath"

	"virtlab/harness/result"
)

// Assets is what the labs boot and run. Paths are on the machine that uses
// them: of the host in the cache, of a guest on its tools disk.
type Assets struct {
	QEMU          string // qemu-system-x86_64, unchanged from Debian's source
	QEMUReference string // the same with the reference function in its edu device
	QEMUDir       string // result of QEMURecipe, which variants of the device are built from; none in a guest
	Firmware      string // directory for QEMU's -L
	Kernel        string // result of KernelRecipe, which modules are built for; none in a guest
	BzImage       string // lab kernel, compressed: any VMM takes it
	Vmlinux       string // lab kernel, uncompressed ELF with a PVH entry; none in a guest
	Initramfs     string // PID 1 and nothing else
	Modules       string // directory of kernel modules
	Programs      string // directory of static programs: the C fixtures, virtlab
	BenchBoot     string // initramfs of the comparison's boots: PID 1 and guestjob
	BenchMeasure  string // the same with sysbench
	BenchDisk     string // disk image of the comparison's guests: room for data; none in a guest
	GoKVM         string // a small VMM in Go, static
	Tools         string // disk image for guests with all of this; none in a guest
}

// manifest is where a guest's assets are listed on its tools disk.
const manifest = "assets.json"

// AssetsVariable names a directory with ready-made assets: set inside a guest,
// where nothing can be built.
const AssetsVariable = "VIRTLAB_ASSETS"

// GuestAssets is the layout of the tools disk mounted at dir.
func GuestAssets(dir string) *Assets {
	return &Assets{
		QEMU:          dir + "/bin/qemu-system-x86_64",
		QEMUReference: dir + "/bin/qemu-system-x86_64-edu-reference",
		Firmware:      dir + "/firmware",
		BzImage:       dir + "/boot/bzImage",
		Initramfs:     dir + "/boot/initramfs",
		Modules:       dir + "/modules",
		Programs:      dir + "/bin",
		BenchBoot:     dir + "/boot/bench-boot",
		BenchMeasure:  dir + "/boot/bench-measure",
		GoKVM:         dir + "/bin/gokvm",
	}
}

// readManifest reads the assets of a tools disk.
func readManifest(dir string) (*Assets, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifest))
	if err != nil {
		return nil, result.Errorf(result.Host, "%s=%s: %w", AssetsVariable, dir, err)
	}
	var a Assets
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, result.Errorf(result.Host, "%s=%s: %w", AssetsVariable, dir, err)
	}
	return &a, nil
}
