package shot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

// copyBuffer is how much of a template is copied at once, in bytes.
const copyBuffer = 4 << 20

// write puts the template and the job on the disk, and both on its medium, so
// that nothing of it is left to do once the clock runs.
func (d Disk) write() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the guest's disk %s: %w", d.Path, err)
		}
	}()
	f, err := d.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd) // a block device's Stat has no size
	if err != nil {
		return err
	}
	if d.Template != "" {
		if size, err = d.copyTemplate(f, size); err != nil {
			return err
		}
	}
	if d.Job != nil {
		if err := writeJob(f, *d.Job, size); err != nil {
			return err
		}
	}
	return settle(f)
}

// open opens the disk for writing: a block device only while nobody else uses it.
func (d Disk) open() (*os.File, error) {
	st, err := os.Stat(d.Path)
	switch {
	case err == nil && st.Mode()&os.ModeDevice != 0:
		return os.OpenFile(d.Path, os.O_RDWR|os.O_EXCL, 0)
	case err == nil && !st.Mode().IsRegular():
		return nil, errors.New("it is neither a file nor a block device")
	case err != nil && d.Template == "":
		return nil, err
	}
	return os.OpenFile(d.Path, os.O_RDWR|os.O_CREATE, 0o600)
}

// copyTemplate copies the template over a disk of that size and gives the disk's
// size with room for the job.
func (d Disk) copyTemplate(f *os.File, size int64) (int64, error) {
	template, err := os.Open(d.Template)
	if err != nil {
		return 0, err
	}
	defer template.Close()
	length, err := template.Seek(0, io.SeekEnd) // it may be a block device, too
	if err == nil {
		_, err = template.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, err
	}
	if size, err = d.makeRoom(f, size, length); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	// Byte by byte: of a clone (copy_file_range, holes) the guest's first writes
	// would have to make the copy, while it is measured.
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{template}, make([]byte, copyBuffer))
	return size, err
}

// makeRoom sees to it that template bytes and the job fit on the disk. A file that
// is no longer than the template is made so.
func (d Disk) makeRoom(f *os.File, size, template int64) (int64, error) {
	want := template
	if d.Job != nil {
		want += job.TailBytes
	}
	if size >= want {
		return size, nil
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("it has %d bytes, and %s and the job take %d: give a larger device", size, d.Template, want)
	}
	return want, f.Truncate(want)
}

// writeJob writes the job to the end of the disk.
func writeJob(f *os.File, spec job.Spec, size int64) error {
	tail, err := spec.Tail()
	if err != nil {
		return err
	}
	if size < int64(len(tail)) {
		return fmt.Errorf("it has %d bytes, fewer than the job at its end", size)
	}
	_, err = io.Copy(io.NewOffsetWriter(f, size-int64(len(tail))), bytes.NewReader(tail))
	return err
}

// settle waits until the medium has all, and empties the page cache of it: a VMM
// that reads past the cache and one that does not shall find the same.
func settle(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}
