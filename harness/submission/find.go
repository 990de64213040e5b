package submission

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/width"

	"virtlab/harness/result"
)

// Find says who handed in what. Each path is one of:
//
//   - an archive: one submission (Open refuses any but zip, with a hint);
//   - a class: a folder with archives, students' folders, or both. Each is a
//     submission, and so is a loose document that has a student's name and
//     number;
//   - a student's own folder: one submission.
//
// A folder is told to be a class by the first of these rules that says
// anything:
//
//  1. What lies in it has names and numbers of two or more students: a class.
//  2. It has a file of the labs on top (modified-qemu.c, gpt-dump.txt, ...): a
//     student's.
//  3. A folder in it that is called after work and not after a person (src,
//     lab1, final) has such files, or a zip: a student's.
//  4. It has a report on top and one zip that has no student's number: a
//     student's, whose code is in the zip.
//  5. It has archives, or folders that are all named NAME-ID, or two or more
//     folders that have the same file of a lab, or one archive each: a class.
//  6. It has a file that the course asks for, anywhere: a student's.
//
// Anything else is an error that names the path. The order is that of the names,
// the same on each machine; names are unique; a path given twice counts once.
func Find(paths ...string) ([]Handin, error) {
	var found []Handin
	for _, path := range paths {
		handins, err := find(path)
		if err != nil {
			return nil, err
		}
		found = append(found, handins...)
	}
	slices.SortFunc(found, func(a, b Handin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	found = slices.CompactFunc(found, func(a, b Handin) bool { return a.Path == b.Path })
	distinguish(found)
	return found, nil
}

// distinguish makes names unique and notes hand-ins of one student.
func distinguish(found []Handin) {
	taken := names{}
	of := map[string][]string{}
	for i, h := range found {
		found[i].Name = taken.unique(h.Name)
		of[h.who()] = append(of[h.who()], filepath.Base(h.Path))
	}
	for i, h := range found {
		if all := of[h.who()]; len(all) > 1 {
			found[i].Note = fmt.Sprintf("one of %d hand-ins of the same student: %s", len(all), some(all))
		}
	}
}

// who tells students apart: by number, and by name where there is none.
func (h Handin) who() string {
	return strings.ToLower(cmp.Or(h.ID, "name "+h.Student))
}

func find(path string) ([]Handin, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("looking for submissions in %s: %w", path, err)
	}
	st, err := os.Stat(abs)
	switch {
	case err != nil:
		return nil, result.Errorf(result.Submission, "looking for submissions: %w", err).
			WithHint("give a zip file, a student's folder, or a folder of those")
	case st.IsDir():
		return findInFolder(abs)
	case st.Mode().IsRegular() && archiveSuffix(abs) != "":
		return []Handin{handin(abs)}, nil
	}
	return nil, result.Errorf(result.Submission, "%s is neither a zip file nor a folder", path).
		WithHint("give a zip file, a student's folder, or a folder of those")
}

func findInFolder(dir string) ([]Handin, error) {
	s, err := lookOver(dir)
	if err != nil {
		return nil, err
	}
	switch class, ok := s.isClass(); {
	case class && s.link != "":
		return nil, result.Errorf(result.Submission, "%s is a link", filepath.Join(dir, s.link)).
			WithHint("put what it points to in its place; links are not followed")
	case class:
		return s.handins(), nil
	case ok:
		return []Handin{handin(dir)}, nil
	}
	return nil, result.Errorf(result.Submission, "%s is neither a submission nor a class: no zip file in it, and no file that the course asks for (%s, ...)",
		dir, VMM.FileName()).WithHint("%s", s.advice())
}

// overview is what a folder looks like from above.
type overview struct {
	dir      string
	archives []string // base names
	papers   []string // documents named NAME-ID
	link     string   // a link to something that could be a submission
	top      map[Role]bool
	folders  []subfolder
}

// subfolder is a folder in it that has anything in it.
type subfolder struct {
	name     string
	roles    map[Role]bool // anywhere below
	archives []string      // directly in it
	others   int           // other things directly in it
}

// lookMax bounds how many files of a folder are looked at by name.
const lookMax = 20000

func lookOver(dir string) (*overview, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for submissions: %w", err)
	}
	s := &overview{dir: dir, top: map[Role]bool{}}
	for _, e := range entries {
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *overview) add(e fs.DirEntry) error {
	name := e.Name()
	switch {
	case junk(name) != "" || strings.HasPrefix(name, "."):
	case e.Type()&fs.ModeSymlink != 0:
		if archiveSuffix(name) != "" || named(name) {
			s.link = name
		}
	case e.IsDir():
		return s.descend(name)
	case archiveSuffix(name) != "":
		s.archives = append(s.archives, name)
	case isPaper(name):
		s.papers = append(s.papers, name)
	default:
		s.top[roleOfName(name)] = true
	}
	return nil
}

func (s *overview) descend(name string) error {
	f := subfolder{name: name, roles: map[Role]bool{}}
	root, seen := filepath.Join(s.dir, name), 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch seen++; {
		case err != nil: // one unreadable folder does not stop a class: Open will say so
			f.others++
			return nil
		case seen > lookMax:
			return fs.SkipAll
		case path == root:
			return nil
		case junk(d.Name()) != "":
			return skip(d)
		}
		f.add(d, filepath.Dir(path) == root)
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking for submissions: %w", err)
	}
	if len(f.archives)+f.others > 0 {
		s.folders = append(s.folders, f)
	}
	return nil
}

func (f *subfolder) add(d fs.DirEntry, direct bool) {
	archive := d.Type().IsRegular() && archiveSuffix(d.Name()) != ""
	switch {
	case archive && direct:
		f.archives = append(f.archives, d.Name())
	case direct:
		f.others++
	}
	if d.Type().IsRegular() && !archive {
		f.roles[roleOfName(d.Name())] = true
	}
}

// skip leaves out a folder with all that is in it, or a file.
func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// isClass decides what the folder is, by the rules of Find; !ok: neither a class
// nor a submission.
func (s *overview) isClass() (class, ok bool) {
	switch {
	case s.students() > 1:
		return true, true
	case hasWork(s.top):
		return false, true
	case slices.ContainsFunc(s.folders, func(f subfolder) bool {
		return isWorkName(f.name) && (hasWork(f.roles) || len(f.archives) > 0)
	}):
		return false, true
	case s.top[Report] && len(s.archives) == 1 && len(s.folders) == 0 && !named(s.archives[0]):
		return false, true
	case len(s.archives) > 0, s.allNamed(), s.alike():
		return true, true
	}
	return false, s.anything()
}

// students counts the names and numbers in the names of the entries.
func (s *overview) students() int {
	who := map[string]bool{}
	for _, h := range s.handins() {
		if named(filepath.Base(h.Path)) {
			who[h.who()] = true
		}
	}
	return len(who)
}

// named says whether a base name is a student's name with his number.
func named(base string) bool {
	_, student, id := identify(stem(base))
	return id != "" && !isWorkName(student)
}

func (s *overview) allNamed() bool {
	for _, f := range s.folders {
		if !named(f.name) {
			return false
		}
	}
	return len(s.folders) > 0
}

// alike says whether two folders have the same file of a lab, or an archive
// each.
func (s *overview) alike() bool {
	with := map[Role]int{}
	for _, f := range s.folders {
		for _, r := range workRoles {
			if f.roles[r] {
				with[r]++
			}
		}
		if len(f.archives) == 1 {
			with["archive"]++
		}
	}
	for _, n := range with {
		if n > 1 {
			return true
		}
	}
	return false
}

func (s *overview) anything() bool {
	recognized := func(roles map[Role]bool) bool {
		for r := range roles {
			if r != "" && r != Header {
				return true
			}
		}
		return false
	}
	return recognized(s.top) || slices.ContainsFunc(s.folders, func(f subfolder) bool { return recognized(f.roles) })
}

// advice names folders in it that look like classes.
func (s *overview) advice() string {
	var sections []string
	for _, f := range s.folders {
		if len(f.archives) > 0 {
			sections = append(sections, filepath.Join(s.dir, f.name))
		}
	}
	if len(sections) > 0 {
		return "give the folders with the zip files: " + some(sections)
	}
	return "give a zip file, a student's folder, or a folder of those"
}

// handins are those of a class.
func (s *overview) handins() (all []Handin) {
	who := map[string]bool{}
	for _, name := range s.archives {
		all = append(all, handin(filepath.Join(s.dir, name)))
	}
	for _, f := range s.folders {
		all = append(all, s.handinOf(f))
	}
	for _, h := range all {
		who[h.who()] = true
	}
	for _, name := range s.papers {
		if h := handin(filepath.Join(s.dir, name)); !who[h.who()] {
			all = append(all, h)
		}
	}
	return all
}

// handinOf is a student's folder, or the one zip file that is all it holds: so
// Moodle lays them out.
func (s *overview) handinOf(f subfolder) Handin {
	h := handin(filepath.Join(s.dir, f.name))
	if len(f.archives) != 1 || f.others > 0 {
		return h
	}
	inner := handin(filepath.Join(h.Path, f.archives[0]))
	if inner.ID == "" {
		inner.Name, inner.Student, inner.ID = h.Name, h.Student, h.ID
	}
	return inner
}

// workRoles are the files that one student has once.
var workRoles = []Role{VMM, Edu, EduOp, Driver, Test, GuestLog, HostLog}

func hasWork(roles map[Role]bool) bool {
	return slices.ContainsFunc(workRoles, func(r Role) bool { return roles[r] })
}

var (
	workName = regexp.MustCompile(`(?i)^(lab|exp|experiment|chapter|ch|task|hw|homework|part|ex|step|src|source|code|test|io|cpu|mem|memory|mmu|bench|benchmark|` +
		`vmm|kvm|qemu|edu|pci|driver|device|module|kernel|host|guest|final|old|new|backup|bak|orig|original|v|ver|version|` +
		`report|doc|img|image|picture|log|data|result|output|submission|实验|章节|任务|作业|最终|旧|新|备份|代码|源码|源代码|报告|附件|截图|图片|日志|数据|结果)s?` +
		`[\s._-]*[0-9一二三四五六七八九十]*$`)
	chapterName = regexp.MustCompile(`^第.{1,3}[章次个]`)
)

// isWorkName says whether a folder is called after work, not after a person.
func isWorkName(name string) bool {
	name = width.Fold.String(name)
	return workName.MatchString(name) || chapterName.MatchString(name)
}

// isPaper says whether a loose file of a class could be what a student handed
// in instead of a zip.
func isPaper(name string) bool {
	ext := filepath.Ext(name)
	switch strings.ToLower(ext) {
	case ".pdf", ".doc", ".docx", ".md", ".html", ".c":
		_, student, id := identify(strings.TrimSuffix(name, ext))
		return idDigits(id) >= 6 && !isWorkName(student)
	}
	return false
}

// some lists a few words.
func some(words []string) string {
	const few = 4
	if len(words) <= few {
		return strings.Join(printable(words), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(printable(words[:few]), ", "), len(words)-few)
}
