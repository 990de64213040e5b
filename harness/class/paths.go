package class

import (
	"path/filepath"
	"strings"

	"virtlab/harness/result"
)

// CheckOut refuses an output directory inside of what is graded, and the other
// way round: results would be taken for submissions.
func CheckOut(out string, paths []string) error {
	for _, p := range paths {
		if a, b := real(out), real(p); within(a, b) || within(b, a) {
			return result.Errorf(result.Host, "the output %s and the submissions %s lie within each other", out, p).
				WithHint("give a directory beside the submissions with -o")
		}
	}
	return nil
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// real is path as the kernel sees it, also where its end does not exist yet.
func real(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for rest := ""; ; {
		if p, err := filepath.EvalSymlinks(abs); err == nil {
			return filepath.Join(p, rest)
		}
		if abs == filepath.Dir(abs) {
			return filepath.Join(abs, rest)
		}
		abs, rest = filepath.Dir(abs), filepath.Join(filepath.Base(abs), rest)
	}
}
