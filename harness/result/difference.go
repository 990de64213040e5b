package result

import "unicode/utf8"

// side is one of two texts that are shown beside each other: what is before the
// first difference, the character there, and what follows.
type side struct{ Before, Mark, After string }

// sides are what was expected and what came, to be shown beside each other.
// Where they are long what is far from the first difference is left out.
func (v *Verdict) sides() [2]side {
	if v.Expected == v.Got || v.Expected == "" || v.Got == "" {
		return [2]side{{After: show(v.Expected)}, {After: show(v.Got)}}
	}
	at := firstDifference(v.Expected, v.Got)
	return [2]side{sideOf(v.Expected, at), sideOf(v.Got, at)}
}

// firstDifference is where the first character begins that is not the same.
func firstDifference(a, b string) int {
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	for at > 0 && (inside(a, at) || inside(b, at)) {
		at--
	}
	return at
}

func sideOf(s string, at int) side {
	_, size := utf8.DecodeRuneInString(s[at:])
	return side{
		Before: shownEnd(s[:at]),
		Mark:   marked(s[at : at+size]),
		After:  shown(s[at+size:], briefBytes),
	}
}

// shownEnd is the visible end of a text.
func shownEnd(s string) string {
	if len(s) <= briefBytes {
		return visible(s)
	}
	return "[...] " + visible(s[cutAfter(s, len(s)-briefBytes):])
}

// marked makes a character seen that is blank, or that is missing.
func marked(char string) string {
	switch char {
	case "":
		return "(end)"
	case "\n":
		return "␊\n"
	case "\t":
		return "␉\t"
	case " ":
		return "␠"
	}
	return visible(char)
}
