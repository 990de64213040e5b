package build

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Log takes what a build prints and shows how far it is: on a terminal one
// line that is rewritten, elsewhere a line every ten seconds.
type Log struct {
	path   string
	file   *os.File
	out    io.Writer
	name   string
	tty    bool
	start  time.Time
	expect time.Duration
	times  string

	mu   sync.Mutex
	step string
	done int // units of work done and in all, where the build tells
	all  int
	tail tail
	stop chan struct{}
	wait sync.WaitGroup
}

func newLog(c *Cache, r Recipe) (*Log, error) {
	path := filepath.Join(c.dir, "log", r.Key())
	f, err := os.Create(path)
	if err != nil {
		return nil, c.explain(r, err, "")
	}
	l := &Log{path: path, file: f, out: c.progress, name: r.Name, start: time.Now(), expect: r.Expect,
		times: filepath.Join(c.dir, "times", r.Name), stop: make(chan struct{})}
	if tty, ok := c.progress.(*os.File); ok {
		l.tty = term.IsTerminal(int(tty.Fd()))
	}
	if b, err := os.ReadFile(l.times); err == nil {
		if s, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil {
			l.expect = time.Duration(s * float64(time.Second))
		}
	}
	l.wait.Add(1)
	go l.show()
	return l, nil
}

// Step names what the build does now: "unpacking", "compiling".
func (l *Log) Step(format string, args ...any) {
	l.mu.Lock()
	l.step, l.done, l.all = fmt.Sprintf(format, args...), 0, 0
	l.mu.Unlock()
	fmt.Fprintf(l, "== %s (%s)\n", fmt.Sprintf(format, args...), time.Since(l.start).Round(100*time.Millisecond))
}

// Count says that done of all units of the step are done.
func (l *Log) Count(done, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done, l.all = done, all
}

// Write keeps what a build prints.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail.Write(p)
	return l.file.Write(p)
}

func (l *Log) line() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.name + ": " + l.step
	if l.all > 0 {
		s += fmt.Sprintf(" %d/%d", l.done, l.all)
	}
	s += "  " + time.Since(l.start).Round(time.Second).String()
	if l.expect > 0 {
		s += " of about " + l.expect.Round(time.Second).String()
	}
	return s
}

func (l *Log) show() {
	defer l.wait.Done()
	every := 10 * time.Second
	if l.tty {
		every = 250 * time.Millisecond
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
			if l.tty {
				fmt.Fprintf(l.out, "\r\033[K%s", clip(l.line(), l.out))
			} else {
				fmt.Fprintln(l.out, l.line())
			}
		}
	}
}

// clip cuts a line to the width of the terminal out is: a line that wraps
// cannot be rewritten.
func clip(line string, out io.Writer) string {
	if f, ok := out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && len(line) >= width {
			return line[:width-1]
		}
	}
	return line
}

func (l *Log) close(err error) {
	close(l.stop)
	l.wait.Wait()
	took := time.Since(l.start)
	if l.tty {
		fmt.Fprint(l.out, "\r\033[K")
	}
	if err != nil {
		fmt.Fprintf(l.out, "%s: failed after %s, log in %s\n", l.name, took.Round(100*time.Millisecond), l.path)
	} else {
		fmt.Fprintf(l.out, "%s: done in %s\n", l.name, took.Round(100*time.Millisecond))
		_ = os.WriteFile(l.times, []byte(strconv.FormatFloat(took.Seconds(), 'f', 1, 64)), 0o644)
	}
	_ = l.file.Close()
}

// Run runs a build command in dir with env added to the environment; its
// output goes to the log, and its last lines into the error. A line that
// begins with "[n/m]" (ninja) moves the progress.
func (l *Log) Run(ctx context.Context, dir string, env []string, argv ...string) error {
	fmt.Fprintf(l, "+ %s\n", strings.Join(argv, " "))
	if _, err := exec.LookPath(argv[0]); err != nil && !strings.Contains(argv[0], "/") {
		return err
	}
	cmd, release, err := mortal(ctx, argv)
	if err != nil {
		return err
	}
	defer release()
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	return l.run(ctx, cmd, argv)
}

// run runs cmd, which is argv to people, with its output in the log.
func (l *Log) run(ctx context.Context, cmd *exec.Cmd, argv []string) error {
	w := &counting{log: l}
	cmd.Stdout, cmd.Stderr = w, w
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, l.tail.String())
}

// untilParentDies runs its arguments in a process group that a watcher kills
// when file descriptor 3, a pipe that only our process holds open, ends. A
// parent-death signal would reach make but not the makes below it.
const untilParentDies = `{ read -r _ <&3; kill -9 0; } >/dev/null 2>&1 & exec 3<&-; "$@"`

// mortal is a command in a process group of its own: a build is many processes,
// and they end together when ctx ends, when release is called, and when this
// process dies, however it dies.
func mortal(ctx context.Context, argv []string) (cmd *exec.Cmd, release func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", untilParentDies, "sh"}, argv...)...)
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, func() { r.Close(); w.Close() }, nil
}

// counting finds ninja's [n/m] in what passes through.
type counting struct {
	log  *Log
	rest []byte
}

func (c *counting) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		i := bytes.IndexByte(c.rest, '\n')
		if i < 0 {
			break
		}
		var done, all int
		if n, _ := fmt.Sscanf(string(c.rest[:i]), "[%d/%d]", &done, &all); n == 2 {
			c.log.Count(done, all)
		}
		c.rest = c.rest[i+1:]
	}
	return c.log.Write(p)
}

// tail keeps the last bytes written to it.
type tail struct{ b []byte }

const tailBytes = 2000

func (t *tail) Write(p []byte) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailBytes {
		t.b = append([]byte(nil), t.b[len(t.b)-tailBytes:]...)
	}
}

func (t *tail) reset() { t.b = nil }

func (t *tail) String() string {
	b := t.b
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
	}
	return strings.TrimSpace(string(b))
}

// freeBytes is what an unprivileged user may still write below dir.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
