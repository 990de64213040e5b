package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fakeDisks has sda with partitions sda1 and sda2, of which dm-0 is made, and an
// empty sdb.
func fakeDisks(t *testing.T, mountinfo, swaps string) disks {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
	}
	link := func(target, path string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		require.NoError(t, os.Symlink(target, filepath.Join(root, path)))
	}
	write("proc/self/mountinfo", mountinfo)
	write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"+swaps)
	for dir, number := range map[string]string{
		"pci0/block/sda": "8:0", "pci0/block/sda/sda1": "8:1", "pci0/block/sda/sda2": "8:2",
		"pci0/block/sdb": "8:16", "pci0/block/sdc": "8:32", "virtual/block/dm-0": "254:0",
	} {
		write("sys/devices/"+dir+"/dev", number+"\n")
		write("sys/devices/"+dir+"/ro", map[bool]string{true: "1\n", false: "0\n"}[number == "8:32"])
		link("../../devices/"+dir, "sys/dev/block/"+number)
		require.NoError(t, os.MkdirAll(filepath.Join(root, "sys/devices", dir, "holders"), 0o755))
	}
	write("sys/devices/pci0/block/sda/sda1/partition", "1\n")
	write("sys/devices/pci0/block/sda/sda2/partition", "2\n")
	link("../../../../../virtual/block/dm-0", "sys/devices/pci0/block/sda/sda2/holders/dm-0")
	image := filepath.Join(root, "image")
	require.NoError(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	numbers := map[string]string{"/dev/sda": "8:0", "/dev/sda1": "8:1", "/dev/sda2": "8:2", "/dev/sdb": "8:16", "/dev/sdc": "8:32"}
	return disks{
		root:   root,
		number: func(dev string) (string, error) { return numbers[dev], nil },
		open:   func(string) (*os.File, error) { return os.Open(image) },
	}
}

func TestCheckDiskUse(t *testing.T) {
	const elsewhere = "21 1 9:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n"
	tests := []struct {
		name, dev, mounts, swaps string
		want                     string // in the error; empty: it may be overwritten
	}{
		{name: "nothing uses it", dev: "/dev/sdb", mounts: elsewhere},
		{name: "read-only", dev: "/dev/sdc", mounts: elsewhere, want: "read-only"},
		{name: "mounted", dev: "/dev/sdb", mounts: elsewhere + "30 21 8:16 / /mnt/my\\040disk rw - ext4 /dev/sdb rw\n", want: "sdb is mounted on /mnt/my disk"},
		{name: "a partition is mounted", dev: "/dev/sda", mounts: elsewhere + "30 21 8:1 / /home rw master:1 - ext4 /dev/sda1 rw\n", want: "sda1 is mounted on /home"},
		{name: "the disk of the root file system", dev: "/dev/sda", mounts: "21 1 8:1 / / rw - ext4 /dev/root rw\n", want: "sda1 holds the root file system"},
		{name: "root on a volume", dev: "/dev/sda", mounts: "21 1 254:0 / / rw - ext4 /dev/mapper/root rw\n", want: "dm-0 holds the root"},
		{name: "root is btrfs, with a number of its own", dev: "/dev/sda", mounts: "21 1 0:30 /@ / rw - btrfs /dev/sda1 rw\n", want: "sda1 holds the root"},
		{name: "root before other mounts", dev: "/dev/sda", mounts: "30 21 8:1 / /boot rw - ext4 /dev/sda1 rw\n21 1 254:0 / / rw - ext4 /dev/x rw\n", want: "holds the root"},
		{name: "a sibling of the partition is mounted", dev: "/dev/sda1", mounts: elsewhere + "30 21 8:2 / /home rw - ext4 /dev/sda2 rw\n"},
		{name: "held by the device mapper", dev: "/dev/sda2", mounts: elsewhere, want: "sda2 is part of dm-0"},
		{name: "a partition is held", dev: "/dev/sda", mounts: elsewhere, want: "sda2 is part of dm-0"},
		{name: "swap", dev: "/dev/sdb", mounts: elsewhere, swaps: "/dev/sdb                                partition\t999\t0\t-2\n", want: "sdb is swap"},
		{name: "another disk is swap", dev: "/dev/sdb", mounts: elsewhere, swaps: "/dev/sda1 partition\t999\t0\t-2\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := fakeDisks(t, test.mounts, test.swaps)
			for _, iKnow := range []bool{false, true} {
				err := d.check(test.dev, iKnow)
				if test.want == "" {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, test.want, "whether or not the contents matter")
				}
			}
		})
	}
}

func TestCheckDiskThatSomethingElseUses(t *testing.T) {
	d := fakeDisks(t, "", "")
	d.open = func(string) (*os.File, error) { return nil, unix.EBUSY }
	assert.ErrorContains(t, d.check("/dev/sdb", true), "something uses it")
	d.open = func(string) (*os.File, error) { return nil, unix.EACCES }
	assert.ErrorIs(t, d.check("/dev/sdb", true), unix.EACCES)
}

// A kernel that knows of partitions whose table we do not.
func TestCheckDiskWithPartitions(t *testing.T) {
	d := fakeDisks(t, "", "")
	require.NoError(t, os.RemoveAll(filepath.Join(d.root, "sys/devices/pci0/block/sda/sda2/holders/dm-0")))
	assert.ErrorContains(t, d.check("/dev/sda", false), "2 partitions")
	assert.NoError(t, d.check("/dev/sda", true))
	assert.NoError(t, d.check("/dev/sda1", false), "a partition alone")
}

func TestCheckDiskTakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	err := CheckDisk(path, true)
	assert.ErrorContains(t, err, "no block device")
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, CheckDisk(path+".not", true), "no such file")
}

func TestContents(t *testing.T) {
	const size = 8 << 20
	blank := func() []byte { return make([]byte, size) }
	with := func(parts map[int]string) []byte {
		b := blank()
		for at, text := range parts {
			copy(b[(at+size)%size:], text)
		}
		return b
	}
	ext := map[int]string{0x438: "\x53\xef"}
	ours := map[int]string{0x438: "\x53\xef", 0x478: "virtlab-bench\x00"}
	tests := []struct {
		name string
		disk []byte
		want []string
	}{
		{"empty", blank(), nil},
		{"ext4", with(ext), []string{"an ext2, ext3 or ext4 file system"}},
		{"the benchmark's own", with(ours), nil},
		{"ours, and another's", with(map[int]string{0x438: "\x53\xef", 0x478: "virtlab-bench", -512: "EFI PART"}), []string{"a GPT partition table", "an ext2, ext3 or ext4 file system"}},
		{"a label like ours", with(map[int]string{0x438: "\x53\xef", 0x478: "my-virtlab-bench"}), []string{"an ext2, ext3 or ext4 file system"}},
		{"MBR", with(map[int]string{510: "\x55\xaa"}), []string{"an MBR or a boot sector"}},
		{"GPT", with(map[int]string{510: "\x55\xaa", 512: "EFI PART", -512: "EFI PART"}), []string{"a GPT partition table", "an MBR or a boot sector"}},
		{"GPT of 4 KiB sectors", with(map[int]string{4096: "EFI PART"}), []string{"a GPT partition table"}},
		{"XFS", with(map[int]string{0: "XFSB"}), []string{"an XFS file system"}},
		{"btrfs", with(map[int]string{0x10040: "_BHRfS_M"}), []string{"a btrfs file system"}},
		{"LUKS", with(map[int]string{0: "LUKS\xba\xbe\x00\x02"}), []string{"an encrypted volume (LUKS)"}},
		{"LVM", with(map[int]string{512: "LABELONE"}), []string{"an LVM physical volume"}},
		{"swap", with(map[int]string{4086: "SWAPSPACE2"}), []string{"swap"}},
		{"md 1.2", with(map[int]string{4096: mdMagic}), []string{"a RAID member"}},
		{"md 1.0", with(map[int]string{-8192: mdMagic}), []string{"a RAID member"}},
		{"md 0.90", with(map[int]string{-65536: mdMagic}), []string{"a RAID member"}},
		{"FAT32", with(map[int]string{82: "FAT32   ", 510: "\x55\xaa"}), []string{"an MBR or a boot sector", "a FAT file system"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := contents(bytes.NewReader(test.disk))
			require.NoError(t, err)
			assert.Equal(t, test.want, found)
		})
	}
	_, err := contents(bytes.NewReader(make([]byte, 512)))
	assert.ErrorContains(t, err, "512 bytes")
	_, err = contents(bytes.NewReader(make([]byte, headBytes)))
	assert.NoError(t, err, "smaller than the tail")
}

// Headers as the programs that make them write them: testdata/README.md.
func TestContentsOfRealDisks(t *testing.T) {
	for name, want := range map[string]string{
		"ext4.head": "an ext2, ext3 or ext4 file system", "ours.head": "", "swap.head": "swap",
	} {
		head, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		disk := make([]byte, 1<<20)
		copy(disk, head)
		found, err := contents(bytes.NewReader(disk))
		require.NoError(t, err)
		if want == "" {
			assert.Empty(t, found, name)
		} else {
			assert.Contains(t, found, want, name)
		}
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n")
	f.Add("30 21 0:30 /@ /mnt/a\\040b rw - btrfs /dev/sda1 rw\n")
	members := family{"8:1": "/sys/devices/pci0/block/sda/sda1"}
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range members.mounted(text) {
			assert.Equal(t, "sda1", m.name)
			assert.True(t, strings.Contains(text, "8:1") || strings.Contains(text, "sda1"), text)
		}
	})
}

func FuzzContents(f *testing.F) {
	f.Add([]byte("LUKS\xba\xbe"), []byte("EFI PART"))
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		disk := make([]byte, 256<<10)
		copy(disk, head)
		copy(disk[len(disk)-min(len(tail), len(disk)):], tail)
		_, err := contents(bytes.NewReader(disk))
		assert.NoError(t, err)
	})
}
