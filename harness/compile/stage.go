package compile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"virtlab/harness/result"
)

// staged is a source in a private directory, for the sandbox to read.
type staged struct {
	base   string   // to be removed
	dir    string   // in base
	name   string   // of the file, as the student named it, relative to dir
	source string   // its absolute path
	flags  []string // of the compiler: where headers are, and what not to call files
}

// What is staged of a submission, so that copying it costs little.
const (
	maxSource  = 8 << 20 // bytes of all files
	maxHeaders = 200
)

// stage copies the file and all headers. Only regular files count: a link would
// lead to what the compiler then reads out in its messages.
func stage(src Source) (_ *staged, err error) {
	root, err := os.OpenRoot(src.Root)
	if err != nil {
		return nil, result.Errorf(result.Host, "opening the submission: %w", err)
	}
	defer root.Close()
	base, err := os.MkdirTemp("", "compile")
	if err != nil {
		return nil, result.Errorf(result.Host, "no temporary directory: %w", err)
	}
	name := path.Clean(filepath.ToSlash(src.File))
	s := &staged{base: base, dir: base + "/src", name: name}
	s.source = s.dir + "/" + name
	s.flags = []string{"-ffile-prefix-map=" + s.dir + "/="}
	if err := s.fill(root); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *staged) remove() { _ = os.RemoveAll(s.base) }

// plain is what a compiler said with files named as the student named them.
func (s *staged) plain(said string) string { return strings.ReplaceAll(said, s.dir+"/", "") }

func (s *staged) fill(root *os.Root) error {
	info, err := root.Lstat(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		return result.Errorf(result.Submission, "there is no %s", s.name)
	}
	if err != nil {
		return result.Errorf(result.Submission, "%s: %w", s.name, err)
	}
	if !info.Mode().IsRegular() {
		return result.Errorf(result.Submission, "%s is not a regular file (%s)", s.name, info.Mode())
	}
	files, err := headers(root)
	if err != nil {
		return err
	}
	room := int64(maxSource)
	for _, f := range append(files, s.name) {
		if room, err = s.copy(root, f, room); err != nil {
			return err
		}
	}
	return s.includes(files)
}

// headers lists the headers below root.
func headers(root *os.Root) (files []string, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return result.Errorf(result.Host, "looking for headers: %w", err)
		case !d.Type().IsRegular() || !strings.EqualFold(path.Ext(name), ".h"):
			return nil
		case len(files) == maxHeaders:
			return result.Errorf(result.Submission, "there are more than %d headers", maxHeaders)
		}
		files = append(files, name)
		return nil
	})
	return files, err
}

// copy stages a file, for which there is so much room, and gives what room is
// left.
func (s *staged) copy(root *os.Root, name string, room int64) (left int64, err error) {
	from, err := root.Open(name)
	if err != nil {
		return 0, result.Errorf(result.Submission, "%s: %w", name, err)
	}
	defer from.Close()
	to := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, result.Errorf(result.Host, "staging %s: %w", name, err)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, result.Errorf(result.Host, "staging %s: %w", name, err)
	}
	n, err := io.Copy(f, io.LimitReader(from, room+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, result.Errorf(result.Host, "staging %s: %w", name, err)
	}
	if n > room {
		return 0, result.Errorf(result.Submission, "%s: source and headers are larger than %d MiB", name, maxSource>>20)
	}
	return room - n, nil
}

// beside is an empty directory next to headers: from there "../edu_ioctl.h" is
// found by a source that was written in a directory of its own and handed in
// without it.
const beside = ".beside"

// includes makes each directory with a header one that #include "..." looks in,
// after the one of the source.
func (s *staged) includes(files []string) error {
	seen := map[string]bool{}
	for _, f := range files {
		dir := filepath.Join(s.dir, path.Dir(f))
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if err := os.MkdirAll(filepath.Join(dir, beside), 0o755); err != nil {
			return result.Errorf(result.Host, "staging headers: %w", err)
		}
		s.flags = append(s.flags, "-iquote", dir, "-iquote", filepath.Join(dir, beside))
	}
	return nil
}

// programName is a name for the program of a source: one that any shell and any
// guest takes.
func programName(file string) string {
	base := path.Base(filepath.ToSlash(file))
	base = strings.TrimSuffix(base, path.Ext(base))
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-.", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, base)
	if name = strings.TrimLeft(name, "-."); name == "" {
		return "program"
	}
	return name
}
