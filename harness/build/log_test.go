package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inLog runs f as a build and gives the log to it.
func inLog(t *testing.T, c *Cache, r Recipe, f func(*Log)) {
	t.Helper()
	r.Make = func(_ context.Context, _ string, log *Log) error {
		f(log)
		return nil
	}
	_, err := c.Get(t.Context(), r)
	require.NoError(t, err)
}

func TestProgressLine(t *testing.T) {
	tests := []struct {
		name  string
		last  string // what the last build took
		steps func(*Log)
		want  string
	}{
		{"no step yet", "", func(*Log) {}, "kernel:   0s of about 3m30s"},
		{"step", "", func(l *Log) { l.Step("compiling") }, "kernel: compiling  0s of about 3m30s"},
		{"units", "", func(l *Log) { l.Step("compiling"); l.Count(7, 90) }, "kernel: compiling 7/90  0s of about 3m30s"},
		{"a new step starts its count", "", func(l *Log) { l.Count(7, 90); l.Step("linking %s", "vmlinux") }, "kernel: linking vmlinux  0s of about 3m30s"},
		{"this machine's own time", "61.5", func(*Log) {}, "kernel:   0s of about 1m2s"},
		{"a time that is none", "soon", func(*Log) {}, "kernel:   0s of about 3m30s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := openCache(t)
			if tt.last != "" {
				require.NoError(t, os.WriteFile(filepath.Join(c.dir, "times", "kernel"), []byte(tt.last), 0o644))
			}
			inLog(t, c, Recipe{Name: "kernel", Expect: 210 * time.Second}, func(l *Log) {
				tt.steps(l)
				assert.Equal(t, tt.want, l.line())
			})
		})
	}
}

func TestNinjaMovesProgress(t *testing.T) {
	c, _ := openCache(t)
	inLog(t, c, Recipe{Name: "qemu"}, func(l *Log) {
		l.Step("compiling")
		require.NoError(t, l.Run(t.Context(), t.TempDir(), []string{"N=1441"}, "sh", "-c", `printf "[3/$N] cc a.o\n[4/"; printf "$N] cc b.o\n[x/y] no\n"`))
		assert.Contains(t, l.line(), "compiling 4/1441")
	})
}

func TestTimeIsRemembered(t *testing.T) {
	c, progress := openCache(t)
	inLog(t, c, Recipe{Name: "thing"}, func(*Log) { time.Sleep(120 * time.Millisecond) })
	b, err := os.ReadFile(filepath.Join(c.dir, "times", "thing"))
	require.NoError(t, err)
	assert.Regexp(t, `^0\.[1-9]`, string(b))
	assert.Regexp(t, `^thing: done in \d+ms\n$|^thing: done in [\d.]+s\n$`, progress.String())
}

func TestErrorQuotesLogsTail(t *testing.T) {
	c, _ := openCache(t)
	inLog(t, c, Recipe{Name: "thing"}, func(l *Log) {
		for i := range 5000 {
			fmt.Fprintf(l, "line %d\n", i)
		}
		err := l.Run(t.Context(), t.TempDir(), nil, "false")
		assert.ErrorContains(t, err, "line 4999\n+ false")
		assert.NotContains(t, err.Error(), "line 4000\n")
		assert.Less(t, len(err.Error()), tailBytes+100)
	})
}

func TestRunEndsWithContext(t *testing.T) {
	c, _ := openCache(t)
	inLog(t, c, Recipe{Name: "thing"}, func(l *Log) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := l.Run(ctx, t.TempDir(), nil, "sh", "-c", "sleep 60 & sleep 60; wait")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(start), 10*time.Second)
	})
}

func TestRunGivesNoStdinAndKeepsStatus(t *testing.T) {
	c, _ := openCache(t)
	inLog(t, c, Recipe{Name: "thing"}, func(l *Log) {
		assert.NoError(t, l.Run(t.Context(), t.TempDir(), nil, "sh", "-c", "! read -r line"))
		assert.ErrorContains(t, l.Run(t.Context(), t.TempDir(), nil, "sh", "-c", "exit 42"), "exit status 42")
		arg := `a 'b' "c" $HOME *`
		assert.NoError(t, l.Run(t.Context(), t.TempDir(), []string{"WANT=" + arg}, "sh", "-c", `test "$1" = "$WANT"`, "sh", arg))
	})
}

func TestClipLeavesOtherWritersAlone(t *testing.T) {
	line := strings.Repeat("x", 500)
	assert.Equal(t, line, clip(line, &safeBuffer{}))
}
