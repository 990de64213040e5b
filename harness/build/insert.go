package build

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"virtlab/harness/result"
)

// insertion is one small change to a source file that is not ours: text goes in
// before or after the one place that the anchor finds. Anchors name what the file
// has had since long, so that they hold for versions to come; where one does not
// match exactly once the file is refused, not guessed at.
type insertion struct {
	file   string // relative to the tree; a pattern (filepath.Match) that matches one
	anchor *regexp.Regexp
	after  bool // after the anchor's match; otherwise before it
	text   string
	mark   string // found in the file: the insertion was made before
}

// insertAll makes the insertions in the tree. what they add and a hint for a tree
// that they do not fit are for the error.
func insertAll(tree string, list []insertion, what, hint string) error {
	for _, in := range list {
		if err := in.apply(tree); err != nil {
			return result.Errorf(result.Host, "adding %s to %s: %w", what, filepath.Join(tree, in.file), err).WithHint("%s", hint)
		}
	}
	return nil
}

func (in insertion) apply(tree string) error {
	files, err := filepath.Glob(filepath.Join(tree, in.file))
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("there are %d such files, expected one", len(files))
	}
	old, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	patched, err := in.insert(old)
	if err != nil {
		return err
	}
	return os.WriteFile(files[0], patched, 0o644)
}

func (in insertion) insert(src []byte) ([]byte, error) {
	if in.mark != "" && bytes.Contains(src, []byte(in.mark)) {
		return nil, fmt.Errorf("it is there already (%q)", in.mark)
	}
	found := in.anchor.FindAllIndex(src, -1)
	if len(found) != 1 {
		return nil, fmt.Errorf("the anchor %s is there %d times, expected once", in.anchor, len(found))
	}
	at := found[0][0]
	if in.after {
		at = found[0][1]
	}
	return bytes.Join([][]byte{src[:at], []byte(in.text), src[at:]}, nil), nil
}

// insertionsInput is all that the insertions put in and where, as a recipe input.
func insertionsInput(list []insertion) string {
	var b strings.Builder
	for _, in := range list {
		fmt.Fprintf(&b, "%s %s %t %s\n", in.file, in.anchor, in.after, in.text)
	}
	return b.String()
}
