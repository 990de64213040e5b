package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"virtlab/harness/edu"
)

// runBar drives the edu device's registers as its scripts on stdin say, past
// any driver: in the guest of a student's QEMU it is the grader's own hand.
func runBar(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("bar", flag.ContinueOnError)
	pace := fs.Bool("pace", false, "keep the CPU from being idle, with the lowest priority there is, until killed")
	file := fs.String("file", "", "what to map, a device's resource0 in sysfs; default: the edu device's")
	if err := parseFlags(fs, args, stderr, 0); err != nil {
		return err
	}
	if *pace {
		return spin(ctx)
	}
	scripts, err := edu.ReadScripts(os.Stdin)
	if err != nil {
		return err
	}
	if *file == "" {
		dir, err := findPCI("/sys/bus/pci/devices", edu.Vendor, edu.Device)
		if err != nil {
			return err
		}
		if err := decode(dir); err != nil {
			return err
		}
		*file = filepath.Join(dir, "resource0")
	}
	bar, err := mapBAR(*file)
	if err != nil {
		return err
	}
	defer unix.Munmap(bar)
	return runScripts(ctx, bar, scripts, stdout)
}

// runScripts prints what each script read as soon as it is done: the next one
// may never be.
func runScripts(ctx context.Context, bar mapped, scripts []edu.Script, stdout io.Writer) error {
	out := json.NewEncoder(stdout)
	for _, s := range scripts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.Encode(s.Run(bar, func() { time.Sleep(time.Millisecond) })); err != nil {
			return err
		}
	}
	return nil
}

// spin runs whenever nothing else does.
func spin(ctx context.Context) error {
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("asking for idle priority: %w", err)
	}
	for {
		for range 1 << 20 {
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// findPCI finds the one device of that vendor and device number below root.
func findPCI(root string, vendor, device int) (string, error) {
	dirs, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return "", err
	}
	var found []string
	for _, dir := range dirs {
		if sysfsHas(dir, "vendor", vendor) && sysfsHas(dir, "device", device) {
			found = append(found, dir)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("there are %d PCI devices %04x:%04x, expected one", len(found), vendor, device)
	}
	return found[0], nil
}

func sysfsHas(dir, name string, value int) bool {
	b, err := os.ReadFile(filepath.Join(dir, name))
	return err == nil && strings.TrimSpace(string(b)) == fmt.Sprintf("0x%04x", value)
}

// decode has the device answer at its memory addresses, which it does not do
// before a driver, or this, asked for it. With a driver bound the kernel
// refuses (EBUSY), and there is no need.
func decode(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "enable"), []byte("1"), 0)
	if errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// mapped is a BAR in this process's memory.
type mapped []byte

var _ edu.BAR = mapped(nil)

// mapBAR maps a device's resource0; a plain file will do as well.
func mapBAR(file string) (mapped, error) {
	f, err := os.OpenFile(file, os.O_RDWR|unix.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, edu.BARSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", file, err)
	}
	return b, nil
}

func (m mapped) Read(offset uint64, width int) uint64 {
	if width == 8 {
		return load64(unsafe.Pointer(&m[offset]))
	}
	return uint64(load32(unsafe.Pointer(&m[offset])))
}

func (m mapped) Write(offset uint64, width int, value uint64) {
	if width == 8 {
		store64(unsafe.Pointer(&m[offset]), value)
		return
	}
	store32(unsafe.Pointer(&m[offset]), uint32(value))
}

// Each is one instruction of its width. Inlined, the compiler might put two into
// one or leave one out; those of sync/atomic would read where they write (XCHG).

//go:noinline
func load32(p unsafe.Pointer) uint32 { return *(*uint32)(p) }

//go:noinline
func load64(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

//go:noinline
func store32(p unsafe.Pointer, v uint32) { *(*uint32)(p) = v }

//go:noinline
func store64(p unsafe.Pointer, v uint64) { *(*uint64)(p) = v }
