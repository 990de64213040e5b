package submission

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"virtlab/harness/result"
)

// Answer is a choice of files for one lab: where two files could be meant for a
// role there are several answers, and each is looked at.
type Answer struct {
	Name  string // "" where there is just one, else what tells it from the others: fit for a directory's name
	Files map[Role][]File
}

// maxAnswers bounds how many times a lab is graded for one submission.
const maxAnswers = 3

// labRoles are the files of each lab. Headers go with all that is compiled.
var labRoles = map[result.Lab][]Role{
	result.CPU:    {VMM, Header},
	result.Memory: {GuestLog, HostLog, WalkModule, Header},
	result.IO:     {Edu, EduOp, Driver, Test, Header},
	result.Bench:  {Measurements},
	result.ByHand: {Report},
}

// Answers are the answers for a lab, at least one and at most three; a role
// without a file is missing in it. Files of a role are in the order of how
// likely they are meant.
//
// Where a role that has one file could be played by several, those of one folder
// belong together: final/ and old/ are two answers, a file beside both is in
// each. Logs make several answers only where whole sets lie in different
// folders; headers, measurements, reports and modules never do.
func (s *Submission) Answers(lab result.Lab) []Answer {
	all := s.answers(lab)
	return all[:min(len(all), maxAnswers)]
}

// answers are one more than maxAnswers where there are too many.
func (s *Submission) answers(lab result.Lab) []Answer {
	all := s.pool(lab).expand("")
	taken := names{}
	for i, a := range all {
		if len(all) > 1 {
			all[i].Name = taken.unique(safeName(a.Name))
		}
	}
	return all
}

// pool is what there is to choose from, by role.
type pool map[Role][]File

func (s *Submission) pool(lab result.Lab) pool {
	p := pool{}
	for _, f := range s.Files {
		if slices.Contains(labRoles[lab], f.Role) {
			p[f.Role] = append(p[f.Role], f)
		}
	}
	for role, files := range p {
		slices.SortStableFunc(files, func(a, b File) int {
			return cmp.Or(cmp.Compare(unlikely(role, a), unlikely(role, b)), comparePaths(a.Path, b.Path))
		})
	}
	return p
}

// unlikely is 0 for a file that has its role's name, and 1 for others.
func unlikely(role Role, f File) int {
	stem, ext := key(f.Path)
	switch {
	case isLog(role) && mainLog(stem) == role,
		role == WalkModule && strings.Contains(stem, "gptdump"),
		courseNames[ext][stem] == use{role, byName}:
		return 0
	}
	return 1
}

func isLog(role Role) bool { return role == GuestLog || role == HostLog }

// expand makes answers of a pool until no role is ambiguous.
func (p pool) expand(name string) (all []Answer) {
	for _, part := range p.split() {
		if part.name == "" {
			return []Answer{{Name: name, Files: p}}
		}
		all = append(all, part.expand(strings.TrimPrefix(name+" "+part.name, " "))...)
		if len(all) > maxAnswers {
			return all[:maxAnswers+1]
		}
	}
	return all
}

// part is a pool with less to choose from.
type part struct {
	pool
	name string // "": nothing is ambiguous
}

// split divides a pool by the first role that several files could play: by
// folder where they lie in several, else by file.
func (p pool) split() []part {
	for _, role := range slices.Concat(singleRoles, []Role{GuestLog, HostLog}) {
		if above, areas := areasOf(p.rivals(role)); len(areas) > 1 {
			return p.byArea(above, areas)
		}
	}
	for _, role := range singleRoles {
		if len(p[role]) > 1 {
			return p.byFile(role)
		}
	}
	return []part{{pool: p}}
}

// rivals are the files of which an answer can have one, or one folder's.
func (p pool) rivals(role Role) (files []File) {
	for _, f := range p[role] {
		if !isLog(role) || unlikely(role, f) == 0 {
			files = append(files, f)
		}
	}
	return files
}

// areasOf are the folders, right below the one above them all, that hold the
// files; "" is the one above itself.
func areasOf(files []File) (above string, areas []string) {
	if len(files) == 0 {
		return "", nil
	}
	above = path.Dir(files[0].Path)
	for _, f := range files {
		for !isBelow(f.Path, above) {
			above = path.Dir(above)
		}
	}
	found := map[string]bool{}
	for _, f := range files {
		found[areaBelow(f.Path, above)] = true
	}
	areas = slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return cmp.Or(cmp.Compare(staleness(a), staleness(b)), cmp.Compare(a, b))
	})
	return above, areas
}

// stale are names of folders with what the student does not want to be graded.
var stale = regexp.MustCompile(`(?i)(?:^|[^a-z])(?:old|back|backup|bak|orig|original)(?:[^a-z]|$)|旧|备份|原`)

func staleness(folder string) int {
	if stale.MatchString(folder) {
		return 1
	}
	return 0
}

func isBelow(p, dir string) bool { return dir == "." || strings.HasPrefix(p, dir+"/") }

// areaBelow is the folder right below dir that p lies in; "": in dir itself, or
// elsewhere.
func areaBelow(p, dir string) string {
	if !isBelow(p, dir) {
		return ""
	}
	rest := p
	if dir != "." {
		rest = p[len(dir)+1:]
	}
	area, _, below := strings.Cut(rest, "/")
	if !below {
		return ""
	}
	return area
}

// byArea makes a part of each area, of as many as make a difference.
func (p pool) byArea(above string, areas []string) (parts []part) {
	isArea := map[string]bool{}
	for _, area := range areas {
		isArea[area] = true
	}
	areaOf := func(f File) string {
		if a := areaBelow(f.Path, above); isArea[a] {
			return a
		}
		return ""
	}
	for _, area := range areas[:min(len(areas), maxAnswers+1)] {
		next := pool{}
		for role, files := range p {
			if chosen := inArea(files, area, areaOf); role == Header {
				next[role] = files
			} else if len(chosen) > 0 {
				next[role] = chosen
			}
		}
		parts = append(parts, part{next, cmp.Or(area, strings.Trim(path.Base(above), "."), "top")})
	}
	return parts
}

// inArea are an area's own files of a role; where it has none, those that lie
// outside of all areas; where there are none either, those that only one area
// has.
func inArea(files []File, area string, areaOf func(File) string) []File {
	by := map[string][]File{}
	for _, f := range files {
		by[areaOf(f)] = append(by[areaOf(f)], f)
	}
	switch {
	case len(by[area]) > 0:
		return by[area]
	case len(by[""]) > 0:
		return by[""]
	case len(by) == 1:
		return files
	}
	return nil
}

// byFile makes a part of each file of a role, of as many as make a difference.
func (p pool) byFile(role Role) (parts []part) {
	for _, f := range p[role][:min(len(p[role]), maxAnswers+1)] {
		next := maps.Clone(p)
		next[role] = []File{f}
		parts = append(parts, part{next, path.Base(f.Path)})
	}
	return parts
}

// noteAnswers says of each file that is not in all answers in which it is.
func (s *Submission) noteAnswers() {
	for lab := range labRoles {
		all := s.answers(lab)
		if len(all) == 1 {
			continue
		}
		for i, f := range s.Files {
			if f.Role != "" && slices.Contains(labRoles[lab], f.Role) {
				s.Files[i].Note = joined(f.Note, noteOf(f, all))
			}
		}
	}
}

func noteOf(f File, all []Answer) string {
	var in []string
	for _, a := range all[:min(len(all), maxAnswers)] {
		if slices.ContainsFunc(a.Files[f.Role], func(g File) bool { return g.Path == f.Path }) {
			in = append(in, a.Name)
		}
	}
	switch {
	case len(in) == min(len(all), maxAnswers):
		return ""
	case len(in) == 0:
		return fmt.Sprintf("not used: several files could be meant, and no more than %d answers are looked at", maxAnswers)
	}
	return "one of several that could be meant: answer " + strings.Join(in, ", ")
}

func joined(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), "; ")
}
