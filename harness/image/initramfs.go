// Package image makes what a guest boots from: initramfs archives and disk
// images. An initramfs is a pure function of its content: same input, same
// bytes. A disk image is not: mkfs.ext4 puts times and a random UUID on it.
package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// Tree is the content of an image: absolute paths in the guest and where on
// this host their content lies.
type Tree struct {
	files map[string]entry
}

type entry struct {
	host   string // file on this host
	data   []byte // or its content
	target string // or the target of a symbolic link
	mode   fs.FileMode
}

// File adds the host's file at host as guestPath, with its permissions.
func (t *Tree) File(guestPath, host string) error {
	st, err := os.Stat(host)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", host)
	}
	return t.add(guestPath, entry{host: host, mode: st.Mode().Perm()})
}

// Data adds a file with the given content.
func (t *Tree) Data(guestPath string, data []byte, mode fs.FileMode) error {
	return t.add(guestPath, entry{data: data, mode: mode.Perm()})
}

// Link adds a symbolic link.
func (t *Tree) Link(guestPath, target string) error {
	if target == "" {
		return fmt.Errorf("image: the link %s has no target", guestPath)
	}
	return t.add(guestPath, entry{target: target, mode: fs.ModeSymlink | 0o777})
}

func (t *Tree) add(p string, e entry) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return fmt.Errorf("image: %q is not a clean absolute path", p)
	}
	if t.files == nil {
		t.files = map[string]entry{}
	}
	if old, ok := t.files[p]; ok && (old.host != e.host || old.target != e.target || old.mode != e.mode || !slices.Equal(old.data, e.data)) {
		return fmt.Errorf("image: %s is given twice, with different content or permissions", p)
	}
	for old := range t.files {
		if strings.HasPrefix(p, old+"/") || strings.HasPrefix(old, p+"/") {
			return fmt.Errorf("image: %s and %s: one would have to be a file and a directory", old, p)
		}
	}
	t.files[p] = e
	return nil
}

// paths gives all files in order, parents first.
func (t *Tree) paths() []string {
	ps := make([]string, 0, len(t.files))
	for p := range t.files {
		ps = append(ps, p)
	}
	sort.Strings(ps)
	return ps
}

// dirs gives every directory that the files need, parents first.
func (t *Tree) dirs() []string {
	seen := map[string]bool{"/": true}
	var out []string
	for _, p := range t.paths() {
		var up []string
		for d := path.Dir(p); !seen[d]; d = path.Dir(d) {
			seen[d] = true
			up = append(up, d)
		}
		slices.Reverse(up)
		out = append(out, up...)
	}
	return out
}

func (e entry) content() ([]byte, error) {
	switch {
	case e.target != "":
		return []byte(e.target), nil
	case e.host != "":
		return os.ReadFile(e.host)
	default:
		return e.data, nil
	}
}

// WriteInitramfs writes the tree as a cpio archive in the "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst). It is not
// compressed: under emulation unpacking costs more than reading.
func (t *Tree) WriteInitramfs(w io.Writer) error {
	cw := cpio.NewWriter(w)
	write := func(name string, mode cpio.FileMode, data []byte) error {
		h := &cpio.Header{Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: int64(len(data)), Links: 1}
		if err := cw.WriteHeader(h); err != nil {
			return err
		}
		_, err := cw.Write(data)
		return err
	}
	for _, d := range t.dirs() {
		if err := write(d, cpio.TypeDir|0o755, nil); err != nil {
			return err
		}
	}
	for _, p := range t.paths() {
		e := t.files[p]
		data, err := e.content()
		if err != nil {
			return err
		}
		mode := cpio.TypeReg | cpio.FileMode(e.mode.Perm())
		if e.target != "" {
			mode = cpio.TypeSymlink | 0o777
		}
		if err := write(p, mode, data); err != nil {
			return fmt.Errorf("initramfs: %s: %w", p, err)
		}
	}
	return cw.Close()
}

// Extract writes the tree below dir.
func (t *Tree) Extract(dir string) error {
	for _, d := range t.dirs() {
		if err := errors.Join(os.MkdirAll(dir+d, 0o755), os.Chmod(dir+d, 0o755)); err != nil {
			return err
		}
	}
	for _, p := range t.paths() {
		e := t.files[p]
		if e.target != "" {
			if err := os.Symlink(e.target, dir+p); err != nil {
				return err
			}
			continue
		}
		data, err := e.content()
		if err != nil {
			return err
		}
		// The user's umask has no say in what the guest gets.
		if err := errors.Join(os.WriteFile(dir+p, data, e.mode.Perm()), os.Chmod(dir+p, e.mode.Perm())); err != nil {
			return err
		}
	}
	return nil
}
