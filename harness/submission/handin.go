package submission

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// Handin is something handed in that has not been looked into.
type Handin struct {
	Name    string // fit for a directory's name, and unique among what Find found
	Path    string // absolute
	Student string // in his own writing, UTF-8
	ID      string // his number; may be empty
	Note    string // another hand-in of the same student; may be empty
}

// nameMax is the longest Name in bytes, without the number that makes it unique.
const nameMax = 80

// handin names what lies at path.
func handin(path string) Handin {
	label, student, id := identify(stem(path))
	return Handin{Name: safeName(label), Path: path, Student: student, ID: id}
}

// stem is a base name without the ending of an archive or a document.
func stem(path string) string {
	base := filepath.Base(path)
	if suffix := archiveSuffix(base); suffix != "" {
		return strings.TrimSuffix(base, suffix)
	}
	if isPaper(base) {
		return strings.TrimSuffix(base, filepath.Ext(base))
	}
	return base
}

var (
	// Canvas puts NAME_[LATE_]USER_SUBMISSION_ before the name of an upload,
	// Moodle puts _NUMBER_assignsubmission_file behind the student's name.
	canvas = regexp.MustCompile(`^([^_]+)(?:_LATE)?_\d{3,}_\d{3,}_(.+)$`)
	moodle = regexp.MustCompile(`^(.+)_\d+_assignsubmission_file_?$`)
	// copies are what browsers, file managers and Canvas append: "(1)", "-2".
	copies = regexp.MustCompile(`(?:\s*\(\d{1,2}\)|[-_ ]\d{1,2})$`)
	// glued is a number right behind a name that is not in Latin letters.
	glued = regexp.MustCompile(`^([^\x00-\x7f]+)([0-9A-Za-z]+)$`)
)

// identify tells a student's name and number from a base name such as
// "张三-520030910123"; label is the part of it that says whose work it is.
// Without a number the student is the whole base name.
func identify(base string) (label, student, id string) {
	base = strings.ToValidUTF8(utf8Name(base), "_")
	if m := moodle.FindStringSubmatch(base); m != nil {
		base = m[1]
	}
	if m := canvas.FindStringSubmatch(base); m != nil {
		if student, id = nameAndID(m[2]); id == "" {
			return base, m[1], "" // "lab.zip" of many: Canvas knows whose it is
		}
		return m[2], student, id
	}
	student, id = nameAndID(base)
	return base, student, id
}

// nameAndID splits NAME-ID, ID-NAME and the like.
func nameAndID(base string) (name, id string) {
	folded := width.Fold.String(base) // full-width dashes and digits
	for _, s := range []string{copies.ReplaceAllString(folded, ""), folded} {
		if name, id = split(s); id != "" {
			return name, id
		}
	}
	return base, ""
}

// split finds the number among the words of a base name: that word with most
// digits. The other words are the name.
func split(base string) (name, id string) {
	words := strings.FieldsFunc(base, isSeparator)
	at := -1
	for i, w := range words {
		if idDigits(w) > 0 && (at < 0 || idDigits(w) >= idDigits(words[at])) {
			at = i
		}
	}
	switch {
	case len(words) == 1:
		return splitWord(words[0])
	case at < 0:
		return base, ""
	}
	return strings.Join(slices.Concat(words[:at], words[at+1:]), " "), words[at]
}

// splitWord looks at a base name of one word: a number alone, or a name in
// Chinese with the number right behind it.
func splitWord(word string) (name, id string) {
	if idDigits(word) >= 6 {
		return word, word
	}
	if m := glued.FindStringSubmatch(word); m != nil && idDigits(m[2]) > 0 {
		return m[1], m[2]
	}
	return word, ""
}

func isSeparator(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("_+,，、−", r)
}

// idDigits is the number of digits in a student's number, and 0 for a word that
// is none: a number has four digits or more, and no more letters than digits.
func idDigits(word string) int {
	digits := 0
	for _, r := range word {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
		default:
			return 0
		}
	}
	if digits < 4 || len(word) > 2*digits {
		return 0
	}
	return digits
}

// safeName makes a directory's name: letters of any script, digits, and dashes
// or underscores inside. There is no dot in it, so that it is neither hidden
// nor the name of a file that stands beside such directories.
func safeName(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFC.String(strings.ToValidUTF8(s, "_")) {
		if unicode.In(r, unicode.L, unicode.Nd, unicode.M) || r == '-' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		gap = true
	}
	name := strings.TrimLeftFunc(b.String(), func(r rune) bool { return r == '-' || r == '_' || unicode.Is(unicode.M, r) })
	if name = cut(name, nameMax); name == "" {
		return "submission"
	}
	return name
}

// cut shortens s to at most n bytes between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// names hands out each name once, also to a file system that does not tell
// cases apart.
type names map[string]bool

func (taken names) unique(name string) string {
	free := name
	for i := 2; taken[strings.ToLower(free)]; i++ {
		free = name + "-" + strconv.Itoa(i)
	}
	taken[strings.ToLower(free)] = true
	return free
}
