package submission

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// folder takes in a student's folder, which he may still be changing: nothing
// outside of it is opened, and no link is followed.
func (in *intake) folder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	defer root.Close()
	return in.walk(root, ".")
}

// walk is no fs.WalkDir, which refuses names that are not UTF-8.
func (in *intake) walk(root *os.Root, dir string) error {
	entries, err := readDir(root, dir)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	for _, d := range entries {
		if kind := junk(utf8Name(d.Name())); kind != "" {
			in.ignore(kind, utf8Name(d.Name()))
			continue
		}
		if err := in.enter(root, path.Join(dir, d.Name()), d); err != nil {
			return err
		}
	}
	return nil
}

// readDir lists a folder in the order of its names.
func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// enter takes in one entry of a folder.
func (in *intake) enter(root *os.Root, p string, d fs.DirEntry) error {
	if err := in.count(); err != nil {
		return err
	}
	name, _, err := in.place(utf8Name(p))
	if err != nil {
		return err
	}
	if kind := special(d.Type()); kind != "" {
		in.remark("left out, each is "+kind, name)
		return nil
	}
	if d.IsDir() {
		if err := in.claim(name, true); err != nil {
			return err
		}
		return in.walk(root, p)
	}
	return in.enterFile(root, p, name)
}

func (in *intake) enterFile(root *os.Root, p, name string) error {
	st, err := root.Lstat(p)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	if st.Size() > in.limits.File {
		in.remark("left out, larger than "+size(in.limits.File), name)
		return nil
	}
	if err := in.claim(name, false); err != nil {
		return err
	}
	return in.take(entry{name: name, open: func() (io.ReadCloser, error) { return openPlain(root, p, st) }})
}

var errChanged = errors.New("it was replaced while it was read")

// openPlain opens the plain file that st was taken of, and not what may lie there
// by now. O_NONBLOCK: a pipe without a writer would wait for ever.
func openPlain(root *os.Root, p string, st fs.FileInfo) (io.ReadCloser, error) {
	f, err := root.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!now.Mode().IsRegular() || !os.SameFile(st, now)) {
		err = &fs.PathError{Op: "open", Path: p, Err: errChanged}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
