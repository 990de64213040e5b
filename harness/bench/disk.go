package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckDisk tells whether a block device may be overwritten by the benchmark. It
// is refused while anything uses it, or a partition of it, or what is made of
// it (mounted, swap, device mapper, RAID); so the disk that holds the root file
// system always is. What has contents, a partition table or a known signature,
// is refused unless the caller knows that they are lost.
func CheckDisk(dev string, iKnow bool) error {
	d := disks{root: "/", number: deviceNumber, open: openExclusive}
	if err := d.check(dev, iKnow); err != nil {
		return fmt.Errorf("disk %s: %w", dev, err)
	}
	return nil
}

// disks looks at block devices. All of it but root is another one in tests.
type disks struct {
	root   string                             // above proc and sys
	number func(dev string) (string, error)   // "8:1"
	open   func(dev string) (*os.File, error) // for reading, and for us alone
}

// deviceNumber is the number of a block device as sysfs writes it.
func deviceNumber(dev string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dev, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", errors.New("it is no block device: without -disk the benchmark uses a file of its own")
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

// openExclusive opens a block device as its only user: the kernel refuses that
// while it is mounted, in whatever namespace, or part of something else (open(2),
// O_EXCL without O_CREAT).
func openExclusive(dev string) (*os.File, error) {
	fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dev), nil
}

func (d disks) check(dev string, iKnow bool) error {
	number, err := d.number(dev)
	if err != nil {
		return err
	}
	family, err := d.family(number)
	if err != nil {
		return err
	}
	if err := d.checkUse(family); err != nil {
		return err
	}
	disk, err := d.open(dev)
	switch {
	case errors.Is(err, unix.EBUSY):
		return errors.New("something uses it: it is mounted in another container, or part of a volume; release it first")
	case err != nil:
		return fmt.Errorf("opening it for us alone: %w", err)
	}
	defer disk.Close()
	found, err := contents(disk)
	if err != nil {
		return fmt.Errorf("looking at its contents: %w", err)
	}
	if n := family.partitions(); n > 0 && len(found) == 0 {
		found = []string{fmt.Sprintf("%d partitions", n)}
	}
	if len(found) > 0 && !iKnow {
		return fmt.Errorf("it has %s, which the benchmark would overwrite: if nothing on it is needed, say -i-know", strings.Join(found, " and "))
	}
	return nil
}

// family is a block device with its partitions and what is made of them: their
// directories in sysfs by number.
type family map[string]string

// family finds the devices that live on the one with that number.
func (d disks) family(number string) (family, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(d.root, "sys/dev/block", number))
	if err != nil {
		return nil, fmt.Errorf("finding it in sysfs: %w", err)
	}
	if ro, _ := os.ReadFile(filepath.Join(dir, "ro")); strings.TrimSpace(string(ro)) == "1" {
		return nil, errors.New("it is read-only")
	}
	f := family{}
	return f, f.add(dir)
}

// add takes a device in, with its partitions and holders.
func (f family) add(dir string) error {
	number, err := os.ReadFile(filepath.Join(dir, "dev"))
	if err != nil {
		return fmt.Errorf("looking at it in sysfs: %w", err)
	}
	key := strings.TrimSpace(string(number))
	if _, known := f[key]; known {
		return nil
	}
	f[key] = dir
	partitions, _ := filepath.Glob(filepath.Join(dir, "*", "partition"))
	holders, _ := filepath.Glob(filepath.Join(dir, "holders", "*"))
	for _, p := range partitions {
		holders = append(holders, filepath.Dir(p))
	}
	for _, h := range holders {
		real, err := filepath.EvalSymlinks(h)
		if err != nil {
			return fmt.Errorf("looking at what is made of it: %w", err)
		}
		if err := f.add(real); err != nil {
			return err
		}
	}
	return nil
}

// partitions counts those of the device, not the device if it is one itself.
func (f family) partitions() (n int) {
	for _, dir := range f {
		parent := filepath.Dir(dir)
		_, err := os.Stat(filepath.Join(dir, "partition"))
		if err == nil && slices.Contains(slices.Collect(maps.Values(f)), parent) {
			n++
		}
	}
	return n
}

// name is a member's name if it has that number, or a path leads to it.
func (f family) name(number, path string) string {
	if dir, ok := f[number]; ok {
		return filepath.Base(dir)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for _, dir := range f {
		if strings.HasPrefix(path, "/dev/") && filepath.Base(path) == filepath.Base(dir) {
			return filepath.Base(dir)
		}
	}
	return ""
}

// checkUse refuses a family of which something is mounted, swapped to, or held
// by a driver that stacks devices.
func (d disks) checkUse(f family) error {
	mounts, err := os.ReadFile(filepath.Join(d.root, "proc/self/mountinfo"))
	if err != nil {
		return fmt.Errorf("looking for what is mounted: %w", err)
	}
	swaps, err := os.ReadFile(filepath.Join(d.root, "proc/swaps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without swap
		return fmt.Errorf("looking for swap: %w", err)
	}
	uses := f.mounted(string(mounts))
	for _, u := range uses {
		if u.at == "/" {
			return fmt.Errorf("%s holds the root file system: it is never overwritten", u.name)
		}
	}
	if len(uses) > 0 {
		return fmt.Errorf("%s is mounted on %s: unmount it first", uses[0].name, uses[0].at)
	}
	for line := range strings.Lines(string(swaps)) {
		path := strings.Fields(line + " .")[0]
		if name := f.name("", unescape.Replace(path)); name != "" {
			return fmt.Errorf("%s is swap: switch it off first (swapoff)", name)
		}
	}
	for _, dir := range f {
		if held, _ := filepath.Glob(filepath.Join(dir, "holders", "*")); len(held) > 0 {
			return fmt.Errorf("%s is part of %s: take that apart first", filepath.Base(dir), filepath.Base(held[0]))
		}
	}
	return nil
}

// mount is a member of a family that is mounted.
type mount struct{ name, at string }

// unescape undoes how mountinfo writes blanks in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mounted finds members in /proc/self/mountinfo (proc(5)). File systems with
// numbers of their own, as btrfs has, are found by the path of their device.
func (f family) mounted(mountinfo string) (uses []mount) {
	for line := range strings.Lines(mountinfo) {
		own, source, ok := strings.Cut(line, " - ")
		fields, of := strings.Fields(own), strings.Fields(source)
		if !ok || len(fields) < 5 || len(of) < 2 {
			continue
		}
		if name := f.name(fields[2], unescape.Replace(of[1])); name != "" {
			uses = append(uses, mount{name: name, at: unescape.Replace(fields[4])})
		}
	}
	return uses
}
