package submission

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// found is a file that was taken in and what it can be taken for.
type found struct {
	path string
	size int64
	sum  [sha256.Size]byte
	uses []use
	note string
}

// survey reads all files below dir, by path.
func survey(ctx context.Context, dir string) (files []*found, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return cmp.Or(err, ctx.Err())
		}
		f, err := look(dir, p)
		files = append(files, f)
		return err
	})
	slices.SortFunc(files, func(a, b *found) int { return cmp.Compare(a.path, b.path) })
	return files, err
}

// look reads one file.
func look(dir, p string) (*found, error) {
	rel, err := filepath.Rel(dir, p)
	if err != nil {
		return nil, err
	}
	f := &found{path: filepath.ToSlash(rel)}
	if f.sum, f.size, err = sum(p); err != nil {
		return nil, err
	}
	f.uses, f.note = recognize(f.path, func(max int64) string {
		data, readErr := readHead(p, max)
		err = cmp.Or(err, readErr)
		return decode(data)
	})
	return f, err
}

func sum(p string) (sum [sha256.Size]byte, n int64, err error) {
	f, err := os.Open(p)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), n, err
}

// digest is the one of a submission: of the paths in order, each with its length
// and the digest of its content.
func digest(files []*found) string {
	h := sha256.New()
	for _, f := range files {
		writeDigest(h, f)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func writeDigest(h hash.Hash, f *found) {
	fmt.Fprintf(h, "%d:%s", len(f.path), f.path)
	h.Write(f.sum[:])
}

// pathological says which names will not do for a build.
func pathological(files []*found) (notes []string) {
	var bad []string
	for _, f := range files {
		if hasControl(f.path) {
			bad = append(bad, f.path)
		}
	}
	if len(bad) > 0 {
		notes = append(notes, "names with control characters: "+some(bad))
	}
	return notes
}

// singleRoles are those of which an answer has one file.
var singleRoles = []Role{VMM, Edu, EduOp, Driver, Test}

// candidate is a file for a role, and why it is not used.
type candidate struct {
	*found
	use
	rejected string
}

// assign decides what each file is used for.
func assign(all []*found) (files []File) {
	byRole := map[Role][]*candidate{}
	byFile := map[*found][]*candidate{}
	for _, f := range all {
		for _, u := range f.uses {
			c := &candidate{found: f, use: u}
			byRole[u.role] = append(byRole[u.role], c)
			byFile[f] = append(byFile[f], c)
		}
	}
	for role, candidates := range byRole {
		rejectUnsure(role, candidates)
		if role != Header { // each is included from its own place
			rejectSame(candidates)
		}
	}
	for _, f := range all {
		files = append(files, uses(f, byFile[f])...)
	}
	return files
}

// uses lists a file once for each role that it is used for, or once.
func uses(f *found, candidates []*candidate) (files []File) {
	why := f.note
	for _, c := range candidates {
		if c.rejected != "" {
			why = c.rejected
			continue
		}
		files = append(files, File{Path: f.path, Role: c.role, Note: cmp.Or(taken(c.use), f.note), Size: f.size})
	}
	if files == nil {
		files = []File{{Path: f.path, Note: why, Size: f.size}}
	}
	return files
}

// rejectUnsure leaves out files that can be taken for a role where others surely
// are it: what was not renamed where anything was, and, of one folder, what does
// not have the course's name.
func rejectUnsure(role Role, candidates []*candidate) {
	surest := map[string]*candidate{} // by folder, and of all
	const all = "\x00"
	for _, c := range candidates {
		for _, where := range []string{all, path.Dir(c.path)} {
			if best := surest[where]; best == nil || before(c, best) {
				surest[where] = c
			}
		}
	}
	for _, c := range candidates {
		beside := surest[path.Dir(c.path)]
		switch {
		case c.rank >= unrenamed && surest[all].rank < unrenamed:
			c.rejected = "not used: " + shown(surest[all].path) + " is there"
		case slices.Contains(singleRoles, role) && beside.rank < c.rank:
			c.rejected = "not used: " + shown(beside.path) + " is beside it"
		}
	}
}

// rejectSame leaves out second copies of one content.
func rejectSame(candidates []*candidate) {
	first := map[[sha256.Size]byte]*candidate{}
	for _, c := range candidates {
		if c.rejected == "" && (first[c.sum] == nil || before(c, first[c.sum])) {
			first[c.sum] = c
		}
	}
	for _, c := range candidates {
		if c.rejected == "" && first[c.sum] != c {
			c.rejected = "not used: the same as " + shown(first[c.sum].path)
		}
	}
}

// taken says what a file that does not have the course's name was taken for.
func taken(u use) string {
	switch {
	case u.rank == unrenamed:
		return fmt.Sprintf("taken for the %s: the course calls it %s", u.role, u.role.FileName())
	case u.rank == byContent && slices.Contains(singleRoles, u.role):
		return fmt.Sprintf("taken for the %s by its content", u.role)
	}
	return ""
}

// before orders two files of one role: the surer one first.
func before(a, b *candidate) bool {
	return cmp.Or(cmp.Compare(a.rank, b.rank), comparePaths(a.path, b.path)) < 0
}

// comparePaths puts first what is nearer to the top, then what has the plainer
// name: gpt-dump.txt before gpt-dump-2.txt.
func comparePaths(p, q string) int {
	return cmp.Or(
		cmp.Compare(strings.Count(p, "/"), strings.Count(q, "/")),
		cmp.Compare(len(path.Base(p)), len(path.Base(q))),
		cmp.Compare(p, q))
}
