package submission

import (
	"path"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// junk says what kind of thing nobody meant to hand in a base name is, "" for
// what is looked at.
func junk(name string) string {
	lower := strings.ToLower(name)
	switch lower {
	case "__macosx", ".ds_store", ".appledouble", ".spotlight-v100", ".trashes", "thumbs.db", "desktop.ini", "$recycle.bin":
		return "of macOS or Windows"
	case ".git", ".svn", ".hg", ".gitignore", ".gitattributes":
		return "of version control"
	case ".vscode", ".idea", ".vs", ".cache", ".clangd", "__pycache__", "node_modules", ".tmp_versions", "cmakefiles":
		return "of editors and tools"
	case "modules.order", "module.symvers":
		return "that a compiler made"
	}
	return junkByAffix(lower)
}

func junkByAffix(lower string) string {
	switch {
	case strings.HasPrefix(lower, "._"):
		return "of macOS or Windows"
	case hasSuffix(lower, "~", ".swp", ".swo", ".bak", ".orig"), strings.HasPrefix(lower, ".#"), strings.HasPrefix(lower, "#") && strings.HasSuffix(lower, "#"):
		return "of editors and tools"
	case hasSuffix(lower, ".o", ".ko", ".obj", ".a", ".so", ".exe", ".gch", ".mod", ".mod.c", ".cmd", ".o.d"):
		return "that a compiler made"
	}
	return ""
}

// junkPath finds the first part of a path that is junk.
func junkPath(p string) (kind, part string) {
	for part := range strings.SplitSeq(p, "/") {
		if kind := junk(part); kind != "" {
			return kind, part
		}
	}
	return "", ""
}

func hasSuffix(s string, any ...string) bool {
	for _, suffix := range any {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// archiveSuffixes are endings of archives, the longest first.
var archiveSuffixes = []string{".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip", ".rar", ".7z", ".tar", ".tgz", ".txz", ".tbz2", ".gz", ".xz", ".bz2", ".zst"}

// archiveSuffix is the ending of an archive's name as it is written there, ""
// for any other name.
func archiveSuffix(name string) string {
	for _, suffix := range archiveSuffixes {
		at := len(name) - len(suffix)
		if at > 0 && strings.EqualFold(name[at:], suffix) {
			return name[at:]
		}
	}
	return ""
}

func isZipName(name string) bool { return strings.EqualFold(path.Ext(name), ".zip") }

// key is a base name without its extension, case, separators and the mark of a
// second download, and the extension: "Modified_QEMU (1).C" is "modifiedqemu",
// ".c".
func key(p string) (stem, ext string) {
	base := strings.ToLower(width.Fold.String(path.Base(p)))
	ext = path.Ext(base)
	stem = copies.ReplaceAllString(strings.TrimSuffix(base, ext), "")
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("-_.·", r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, stem), strings.TrimSpace(ext)
}

// printable quotes words that could disturb a message.
func printable(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = shown(w)
	}
	return out
}

// shown is a path as it may stand in a message: quoted where it has anything
// but printable characters.
func shown(p string) string {
	if p == "" || strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar }) {
		return strconv.Quote(p)
	}
	return p
}

// hasControl says whether a path has characters that a build system or a log
// could not carry.
func hasControl(p string) bool {
	return strings.ContainsFunc(p, func(r rune) bool { return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' })
}
