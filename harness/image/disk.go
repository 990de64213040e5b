package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// diskSlackMiB is room for the file system's own structures.
const diskSlackMiB = 16

// WriteDisk writes the tree as a raw ext4 image at path. mkfs.ext4 -d fills it
// from a directory, so neither root nor a loop device is needed. The image is
// meant to be mounted read-only: no journal, no reserved blocks.
func (t *Tree) WriteDisk(ctx context.Context, path string) error {
	return t.writeDisk(ctx, path, 0)
}

// WriteRoomyDisk is WriteDisk with spareMiB of room and a label, for a disk that
// is written to while something is measured. Its blocks have the size of a page,
// where mkfs.ext4 gives a small disk blocks of 1 KiB.
func (t *Tree) WriteRoomyDisk(ctx context.Context, path, label string, spareMiB int64) error {
	return t.writeDisk(ctx, path, spareMiB, "-L", label, "-b", "4096", "-N", "1024")
}

func (t *Tree) writeDisk(ctx context.Context, path string, spareMiB int64, args ...string) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), "tree")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := t.Extract(dir); err != nil {
		return err
	}
	size, err := t.bytes()
	if err != nil {
		return err
	}
	mib := size>>20*21/20 + diskSlackMiB + spareMiB
	return mkfs(ctx, path, mib, append(args, "-d", dir)...)
}

// WriteEmptyDisk writes a raw ext4 image of the given size with nothing on it.
func WriteEmptyDisk(ctx context.Context, path string, mib int64) error {
	return mkfs(ctx, path, mib)
}

// diskFeatures are of a file system that is made for one use. Without checksums of
// block groups (metadata_csum, uninit_bg) Linux zeroes no inode tables in the
// background (ext4lazyinit) while something is measured.
const diskFeatures = "^has_journal,^metadata_csum,^uninit_bg,^resize_inode"

func mkfs(ctx context.Context, path string, mib int64, args ...string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := f.Truncate(mib << 20); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	argv := append([]string{"-q", "-F", "-O", diskFeatures, "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1"}, args...)
	out, err := exec.CommandContext(ctx, mkfsPath(), append(argv, path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

// mkfsPath finds mkfs.ext4, which a user's PATH often leaves out.
func mkfsPath() string {
	for _, p := range []string{"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return "mkfs.ext4"
}

func (t *Tree) bytes() (sum int64, err error) {
	for _, e := range t.files {
		n := int64(len(e.data))
		if e.host != "" {
			st, err := os.Stat(e.host)
			if err != nil {
				return 0, err
			}
			n = st.Size()
		}
		sum += (n + 4095) &^ 4095
	}
	return sum, nil
}
