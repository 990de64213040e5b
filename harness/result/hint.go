package result

import (
	"fmt"
	"strings"
)

// keyLines finds the line, from 1, of each key of a TOML text and of each table
// that it makes; the decoder knows it only while it parses. Of a key that stands
// there twice it is the last, of a table the first.
func keyLines(text string) map[string]int {
	lines, table := map[string]int{}, ""
	unquote := strings.NewReplacer(`"`, "", "'", "", " ", "", "\t", "")
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if header, ok := strings.CutPrefix(line, "["); ok {
			header, _, _ = strings.Cut(header, "]")
			table = unquote.Replace(header) + "."
			addTables(lines, table, i+1)
		} else if key, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			key = table + unquote.Replace(key)
			addTables(lines, key, i+1)
			lines[key] = i + 1
		}
	}
	return lines
}

// addTables notes the tables that a dotted key is in.
func addTables(lines map[string]int, key string, at int) {
	for i := range len(key) {
		if _, has := lines[key[:i]]; key[i] == '.' && !has {
			lines[key[:i]] = at
		}
	}
}

// didYouMean suggests the name that a mistyped one is nearest to, if any is
// near.
func didYouMean(got string, names []string) string {
	if len(got) > 64 {
		return "" // not a name, and the distance would take its length times theirs
	}
	best, distance := "", max(2, len(got)/3)+1
	for _, name := range names {
		if d := editDistance(strings.ToLower(got), name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// editDistance counts the bytes to insert, delete or replace that make a of b
// (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
