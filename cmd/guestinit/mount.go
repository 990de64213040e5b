package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire"
)

// diskMount is what a word of the command line asks for: "SERIAL:DIR", or
// "DEVICE:DIR" where a VMM gives its disks no serial numbers, each with ":ro"
// behind it where the disk is not to be written to.
type diskMount struct {
	device   string // "/dev/vda"; empty: the disk is named by serial
	serial   string
	dir      string
	readOnly bool
}

func parseMount(spec string) (diskMount, error) {
	f := strings.Split(spec, ":")
	if len(f) == 3 && f[2] != "ro" || len(f) < 2 || len(f) > 3 || f[0] == "" || !filepath.IsAbs(f[1]) {
		return diskMount{}, fmt.Errorf("%s=%s: want SERIAL:DIR or DEVICE:DIR, and perhaps :ro", wire.Mount, spec)
	}
	m := diskMount{dir: f[1], readOnly: len(f) == 3}
	if strings.HasPrefix(f[0], "/") {
		m.device = f[0]
	} else {
		m.serial = f[0]
	}
	return m, nil
}

// mountDisk mounts a disk, read-only where the device is, and makes programs on
// it find the dynamic loader and libraries where they look for them.
func mountDisk(spec string) error {
	m, err := parseMount(spec)
	if err != nil {
		return err
	}
	node, err := m.await()
	if err != nil {
		return fmt.Errorf("disk %s: %w", spec, err)
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	var flags uintptr
	if ro, _ := os.ReadFile("/sys/class/block/" + filepath.Base(node) + "/ro"); m.readOnly || strings.TrimSpace(string(ro)) == "1" {
		flags = unix.MS_RDONLY
	}
	if err := unix.Mount(node, m.dir, "ext4", flags, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", node, m.dir, err)
	}
	for _, name := range []string{"lib", "lib64", "usr"} {
		if _, err := os.Stat(filepath.Join(m.dir, name)); err == nil {
			_ = os.Symlink(filepath.Join(m.dir, name), "/"+name)
		}
	}
	return nil
}

// await waits for the disk and gives its node.
func (m diskMount) await() (string, error) {
	if m.device != "" {
		return m.device, awaitNode(m.device)
	}
	sysfs, err := await("/sys/block/*/serial", m.serial)
	return "/dev/" + filepath.Base(filepath.Dir(sysfs)), err
}

// deviceWait is how long a device may take to appear.
const deviceWait = 30 * time.Second

// awaitNode waits for a device node.
func awaitNode(path string) error {
	for start := time.Now(); time.Since(start) < deviceWait; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("after %s there is no %s: is the device on the VMM's command line?", deviceWait, path)
}

// await waits for a file in sysfs that matches pattern and holds want. Devices
// are probed while PID 1 already runs.
func await(pattern, want string) (string, error) {
	for start := time.Now(); time.Since(start) < deviceWait; time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			if b, _ := os.ReadFile(f); strings.TrimSpace(string(b)) == want {
				return f, nil
			}
		}
	}
	return "", fmt.Errorf("nothing like %s holds %q after %s: is the device on the VMM's command line?", pattern, want, deviceWait)
}
