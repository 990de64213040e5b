package machine

import "strings"

// CommandLine makes a line that a shell reads back as args. Words that need no
// quotes get none.
func CommandLine(args ...string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&;|<>*?()[]{}~#`!") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
