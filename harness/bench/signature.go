package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DiskLabel begins the labels of the benchmark's own file systems. A disk that has one
// was overwritten by a benchmark before, so nothing is lost.
const DiskLabel = "virtlab-"

// The bytes of a disk that are looked at: every signature lies there.
const (
	headBytes = 72 << 10
	tailBytes = 132 << 10
)

// signature is what marks contents. A negative offset counts from the end.
type signature struct {
	name   string
	offset int64
	magic  string
}

// signatures are from the formats' own headers: linux/magic.h, the UEFI
// specification, md_p.h and the like.
var signatures = []signature{
	{"a GPT partition table", 512, "EFI PART"}, {"a GPT partition table", 4096, "EFI PART"},
	{"a GPT partition table", -512, "EFI PART"}, {"a GPT partition table", -4096, "EFI PART"},
	{"an MBR or a boot sector", 510, "\x55\xaa"},
	{"an ext2, ext3 or ext4 file system", extMagic, "\x53\xef"},
	{"an XFS file system", 0, "XFSB"},
	{"a btrfs file system", 0x10040, "_BHRfS_M"},
	{"an F2FS file system", 1024, "\x10\x20\xf5\xf2"},
	{"a bcachefs or bcache volume", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"},
	{"an ISO 9660 file system", 0x8001, "CD001"},
	{"a squashfs", 0, "hsqs"}, {"an EROFS", 1024, "\xe2\xe1\xf5\xe0"},
	{"an NTFS", 3, "NTFS    "}, {"an exFAT file system", 3, "EXFAT   "},
	{"a FAT file system", 54, "FAT1"}, {"a FAT file system", 82, "FAT32"},
	{"swap", 4086, "SWAPSPACE2"}, {"swap", 4086, "SWAP-SPACE"}, {"a hibernated system", 4086, "S1SUSPEND"},
	{"an encrypted volume (LUKS)", 0, "LUKS\xba\xbe"},
	{"an LVM physical volume", 0, "LABELONE"}, {"an LVM physical volume", 512, "LABELONE"},
	{"an LVM physical volume", 1024, "LABELONE"}, {"an LVM physical volume", 1536, "LABELONE"},
	{"a RAID member", 0, mdMagic}, {"a RAID member", 4096, mdMagic},
	{"a qcow2 image", 0, "QFI\xfb"},
}

const (
	extMagic = 0x438 // s_magic of the superblock at 1024
	extLabel = 0x478 // s_volume_name, 16 bytes
	mdMagic  = "\xfc\x4e\x2b\xa9"
)

// contents names what is on a disk, as far as it is known; nothing for an empty
// disk and for the benchmark's own.
func contents(disk io.ReaderAt) ([]string, error) {
	size, err := sizeOf(disk)
	if err != nil {
		return nil, err
	}
	if size < headBytes {
		return nil, fmt.Errorf("it has %d bytes", size)
	}
	head, err := readAt(disk, 0, headBytes)
	if err != nil {
		return nil, err
	}
	tail, err := readAt(disk, max(0, size-tailBytes), min(size, tailBytes))
	if err != nil {
		return nil, err
	}
	return contentsOf(head, tail, size), nil
}

// contentsOf finds signatures in the first and last bytes of a disk.
func contentsOf(head, tail []byte, size int64) (found []string) {
	for _, s := range slices.Concat(signatures, raidAtTheEnd(size)) {
		text, at := head, s.offset
		if s.offset < 0 {
			text, at = tail, int64(len(tail))+s.offset
		}
		if at < 0 || at > int64(len(text)) || !bytes.HasPrefix(text[at:], []byte(s.magic)) || slices.Contains(found, s.name) {
			continue
		}
		found = append(found, s.name)
	}
	if len(found) == 1 && bytes.HasPrefix(head[extLabel:], []byte(DiskLabel)) {
		return nil
	}
	return found
}

// raidAtTheEnd is where md's formats 0.90 and 1.0 have their superblock.
func raidAtTheEnd(size int64) []signature {
	old := size&^(64<<10-1) - 64<<10
	v1 := (size/512 - 16) &^ 7 * 512
	return []signature{{"a RAID member", old - size, mdMagic}, {"a RAID member", v1 - size, mdMagic}}
}

// sizeOf is the length of a file or block device.
func sizeOf(disk io.ReaderAt) (int64, error) {
	s, ok := disk.(io.Seeker)
	if !ok {
		return 0, errors.New("its size cannot be told")
	}
	return s.Seek(0, io.SeekEnd)
}

func readAt(disk io.ReaderAt, offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := disk.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, offset, err)
	}
	return b, nil
}
