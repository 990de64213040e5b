package submission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"virtlab/harness/result"
)

// Open takes what was handed in into dir, which must be missing or empty, and
// looks at what the files are. The content of a folder that holds nothing but
// one other folder is that folder's.
//
// A refusal is an error of owner result.Submission. After any error dir is as it
// was.
func Open(ctx context.Context, h Handin, dir string, limits Limits) (*Submission, error) {
	if err := vacant(h.Path, dir); err != nil {
		return nil, fmt.Errorf("taking in %s: %w", filepath.Base(h.Path), err)
	}
	stage, err := os.MkdirTemp(filepath.Dir(dir), ".intake-") // beside it, for rename
	if err != nil {
		return nil, fmt.Errorf("taking in %s: %w", filepath.Base(h.Path), err)
	}
	defer os.RemoveAll(stage)
	in, err := newIntake(ctx, h, stage, limits.orDefault())
	if err != nil {
		return nil, fmt.Errorf("taking in %s: %w", filepath.Base(h.Path), err)
	}
	defer in.root.Close()
	if err := in.all(h.Path); err != nil {
		return nil, err
	}
	s := &Submission{Name: h.Name, Student: h.Student, ID: h.ID, Source: filepath.Base(h.Path), Dir: dir, Notes: in.notes()}
	if h.Note != "" {
		s.Notes = append(s.Notes, h.Note)
	}
	if err := s.settle(ctx, in.content()); err != nil {
		return nil, fmt.Errorf("taking in %s: %w", filepath.Base(h.Path), err)
	}
	return s, nil
}

// vacant makes sure that dir is free, outside of what is taken in, and that its
// parent is there.
func vacant(source, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(source, abs); err == nil && filepath.IsLocal(rel) {
		return result.Errorf(result.Host, "the copy would lie inside of it, in %s", rel).WithHint("choose an output directory outside of the submission")
	}
	return os.MkdirAll(filepath.Dir(abs), 0o755)
}

// settle reads what was taken in, and moves it from where it is to its place.
func (s *Submission) settle(ctx context.Context, from string) error {
	files, err := survey(ctx, from)
	if err != nil {
		return err
	}
	s.Digest = digest(files)
	s.Files, s.Notes = assign(files), append(s.Notes, pathological(files)...)
	s.noteAnswers()
	if err := os.Remove(s.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, s.Dir)
}

// intake is a submission on its way in.
type intake struct {
	ctx     context.Context
	limits  Limits
	stage   string          // a temporary directory
	root    *os.Root        // of the content, below stage
	where   string          // the container under way, for messages
	entries int             // seen
	files   int             // taken in
	bytes   int64           // unpacked
	claimed map[string]bool // paths that are taken; true: by a folder
	inner   []innerZip
	remarks []remark
}

// remark is what is to be said of some names in what was handed in.
type remark struct {
	what  string
	names []string
}

// innerZip is a zip file found in what was handed in.
type innerZip struct {
	name string // in the submission
	file string // where it waits
}

func newIntake(ctx context.Context, h Handin, stage string, limits Limits) (*intake, error) {
	tree := filepath.Join(stage, "content")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	return &intake{ctx: ctx, limits: limits, stage: stage, root: root, where: shown(filepath.Base(h.Path)), claimed: map[string]bool{}}, nil
}

// all takes in a container, and the zip files in it.
func (in *intake) all(source string) error {
	st, err := os.Stat(source)
	switch {
	case err != nil:
		return fmt.Errorf("taking in %s: %w", in.where, err)
	case st.IsDir():
		err = in.folder(source)
	default:
		err = in.zip(source, "")
	}
	if err != nil {
		return err
	}
	outer, inner := in.where, in.inner
	in.inner = nil
	for _, z := range inner {
		in.where = outer + "/" + shown(z.name)
		in.remark("unpacked, too", z.name)
		if err := in.zip(z.file, z.name); err != nil {
			return err
		}
	}
	for _, z := range in.inner {
		in.remark("not opened, zip files inside of a zip file inside of what was handed in", z.name)
	}
	in.where = outer
	if in.files == 0 {
		return in.refuse("hand in the files that the course asks for, in one zip file or folder", "there is no file in it that counts%s", in.leftOut())
	}
	return nil
}

// leftOut says what there was instead.
func (in *intake) leftOut() string {
	if len(in.remarks) == 0 {
		return ""
	}
	return " (" + strings.Join(in.notes(), "; ") + ")"
}

// content is where the content begins: below folders that hold nothing but one
// folder.
func (in *intake) content() string {
	dir := filepath.Join(in.stage, "content")
	for {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || !entries[0].IsDir() {
			return dir
		}
		dir = filepath.Join(dir, entries[0].Name())
	}
}

// notes are what is to be said about the whole.
func (in *intake) notes() (notes []string) {
	for _, r := range in.remarks {
		notes = append(notes, r.what+": "+some(r.names))
	}
	return notes
}

// remark says something of a name, once.
func (in *intake) remark(what, name string) {
	i := slices.IndexFunc(in.remarks, func(r remark) bool { return r.what == what })
	if i < 0 {
		in.remarks = append(in.remarks, remark{what, []string{name}})
		return
	}
	if r := &in.remarks[i]; !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
}

// refuse is why a submission is not taken in.
func (in *intake) refuse(hint, format string, args ...any) error {
	return result.Errorf(result.Submission, "%s: "+format, append([]any{in.where}, args...)...).WithHint("%s", hint)
}

const smaller = "hand in the files that the course asks for and nothing else: no build tree, no disk image"

// count counts an entry of a container.
func (in *intake) count() error {
	if in.entries++; in.entries > in.limits.Entries {
		return in.refuse(smaller, "more than %d files and folders", in.limits.Entries)
	}
	return in.ctx.Err()
}

// ignore leaves out junk.
func (in *intake) ignore(kind, part string) {
	in.remark("ignored, files "+kind, part)
}

// claim takes a path for a file or a folder, and those above it for folders.
func (in *intake) claim(name string, folder bool) error {
	isFolder, taken := in.claimed[name]
	switch {
	case taken && isFolder && folder:
		return nil
	case taken && isFolder != folder:
		return in.refuse("pack the folder again", "%s is both a file and a folder", shown(name))
	case taken:
		return in.refuse("pack the folder again", "%s is in it twice", shown(name))
	}
	in.claimed[name] = folder
	if parent := path.Dir(name); parent != "." {
		return in.claim(parent, true)
	}
	return nil
}

// entry is a file of a container.
type entry struct {
	name   string // where it goes, cleaned
	open   func() (io.ReadCloser, error)
	packed int64   // bytes in a zip file; 0 elsewhere
	crc    *uint32 // of the content, where the container knows it
}

// take copies an entry to its place; a zip file has to wait.
func (in *intake) take(e entry) error {
	if isZipName(e.name) {
		return in.wait(e)
	}
	if err := in.root.MkdirAll(path.Dir(e.name), 0o755); err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	in.files++
	w, err := in.root.OpenFile(e.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	return in.copy(w, e)
}

// wait puts a zip file aside until the container around it is done. Its name is
// its folder's.
func (in *intake) wait(e entry) error {
	w, err := os.CreateTemp(in.stage, "*.zip")
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	in.inner = append(in.inner, innerZip{e.name, w.Name()})
	in.claimed[e.name] = true
	return in.copy(w, e)
}

// copy writes an entry's content and closes w.
func (in *intake) copy(w *os.File, e entry) error {
	defer w.Close()
	r, err := e.open()
	if err != nil {
		return in.unreadable(e, err)
	}
	defer r.Close()
	m := &meter{in: in, e: e, r: r}
	if _, err := io.Copy(struct{ io.Writer }{w}, m); err != nil {
		return cmp.Or(m.err, fmt.Errorf("taking in %s: %w", in.where, err))
	}
	if e.crc != nil && *e.crc != m.crc {
		return in.refuse(repack, "%s does not have the checksum that the zip file gives: the zip file is damaged", shown(e.name))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	return nil
}
