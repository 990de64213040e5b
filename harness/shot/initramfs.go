package shot

import (
	"errors"
	"fmt"
	"io"
	"os"

	"virtlab/harness/image"
)

// write copies the base and appends an archive with the job: Linux unpacks one
// after the other (its Documentation/driver-api/early-userspace/buffer-format.rst).
func (i Initramfs) write() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the guest's initramfs %s: %w", i.Path, err)
		}
	}()
	tail, err := i.Job.Tail()
	if err != nil {
		return err
	}
	var job image.Tree
	if err := job.Data(JobFile, tail, 0o600); err != nil {
		return err
	}
	base, err := os.Open(i.Base)
	if err != nil {
		return err
	}
	defer base.Close()
	f, err := os.Create(i.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{base}, make([]byte, copyBuffer))
	if err != nil {
		return err
	}
	if _, err := f.Write(make([]byte, -n&3)); err != nil { // an archive begins at a multiple of 4
		return err
	}
	return job.WriteInitramfs(f)
}
