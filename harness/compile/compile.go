// Package compile makes programs, kernel modules and QEMUs of students' C
// sources. The compiler reads what a source tells it to and takes what a source
// makes it take, so it runs in the sandbox; what it makes comes out through a
// pipe, and nothing in the sandbox is ever opened from outside.
package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"virtlab/harness/build"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
)

// Source is a C file of a submission. Of Root the compiler sees File and the
// headers, *.h, at the places where they are.
type Source struct {
	Root string
	File string // relative to Root
}

// Product is what was made of a source.
type Product struct {
	Path     string
	Warnings string // of the compiler, as it printed them
}

// limits are those of one compilation; tests lower them.
var limits = sandbox.Compiler

// Program makes a static program in the directory out. It has the name of the
// source without its ending. Where the compiler refuses the source, or it makes
// the compiler run into a limit, the error is the submission's.
func Program(ctx context.Context, src Source, out string) (Product, error) {
	return makeOf(ctx, src, func(s *staged) (job, error) {
		argv := append([]string{"gcc", "-static", "-pthread", "-O2", "-Wall", "-o", product}, s.flags...)
		return job{
			script: command(append(argv, s.source, "-lm")...),
			made:   product, to: filepath.Join(out, programName(src.File)), mode: 0o755,
		}, nil
	})
}

// Device makes a QEMU, out/qemu-system-x86_64, whose edu device is the source: a
// whole hw/misc/edu.c for the QEMU in qemuDir, a result of build.QEMURecipe. It
// takes the firmware of that QEMU.
func Device(ctx context.Context, qemuDir string, src Source, out string) (Product, error) {
	return makeOf(ctx, src, func(s *staged) (job, error) {
		c, err := build.EduCommandsFor(qemuDir, s.source, sandbox.Scratch+"/edu.o", product)
		if err != nil {
			return job{}, err
		}
		return job{
			script: command("cd", c.Dir) + command(append(c.Compile, s.flags...)...) + quiet(c.Link),
			made:   product, to: build.QEMUBinary(out), mode: 0o755, reads: []string{qemuDir},
		}, nil
	})
}

// product is the place of what is made in the sandbox.
const product = sandbox.Scratch + "/product"

// job is what is to be done in the sandbox.
type job struct {
	script string // of the shell
	made   string // what the script makes
	to     string // and where that goes
	mode   os.FileMode
	reads  []string // files and directories besides the source
}

// makeOf stages a source and does with it what plan says.
func makeOf(ctx context.Context, src Source, plan func(*staged) (job, error)) (Product, error) {
	if _, err := exec.LookPath("gcc"); err != nil {
		return Product{}, result.Errorf(result.Host, "no C compiler: %w", err).WithHint("run make setup, or: apt-get install gcc")
	}
	s, err := stage(src)
	if err != nil {
		return Product{}, err
	}
	defer s.remove()
	j, err := plan(s)
	if err != nil {
		return Product{}, err
	}
	return j.do(ctx, s)
}

// do runs the job and takes what it made out of the sandbox.
func (j job) do(ctx context.Context, s *staged) (Product, error) {
	f, err := os.CreateTemp(filepath.Dir(j.to), ".compiling-*")
	if err != nil {
		return Product{}, result.Errorf(result.Host, "no place for what is compiled: %w", err)
	}
	defer os.Remove(f.Name())
	said := &limited{}
	err = sandbox.Run(ctx, sandbox.Spec{
		Args: []string{"sh", "-ec", "exec 3>&1 >&2\n" + j.script + "exec >&3 " + command("cat", j.made)},
		Dir:  s.dir, ReadOnly: append([]string{s.dir}, j.reads...), Limits: limits,
		Stdout: f, Stderr: said,
	})
	err = errors.Join(err, f.Chmod(j.mode), f.Close())
	if err != nil {
		return Product{}, explain(s, err, said.String())
	}
	if err := os.Rename(f.Name(), j.to); err != nil {
		return Product{}, result.Errorf(result.Host, "keeping what was compiled: %w", err)
	}
	return Product{Path: j.to, Warnings: s.plain(said.String())}, nil
}

// explain says why a compilation failed with err after it said that much.
func explain(s *staged, err error, said string) error {
	var over *sandbox.LimitError
	if errors.As(err, &over) {
		return result.Errorf(result.Submission, "%s cannot be compiled: the compiler %w", s.name, over)
	}
	var exit *machine.ExitError
	if !errors.As(err, &exit) || exit.Signal != "" { // the shell is killed from outside alone
		return fmt.Errorf("compiling %s: %w", s.name, err)
	}
	if l := limitIn(said); l != "" {
		return result.Errorf(result.Submission, "%s cannot be compiled: the compiler %w", s.name, limits.Exceeded(l))
	}
	return result.Errorf(result.Submission, "%s does not compile:\n%s", s.name, build.CompilerErrors(said, s.dir))
}

// complaints are what the compiler and the linker say when a system call fails for
// a limit, before the watch has seen that it was reached.
var complaints = []struct {
	text  string
	limit sandbox.Limit
}{
	{"CPU time limit exceeded", sandbox.CPU},
	{"File size limit exceeded", sandbox.FileSize},
	{"No space left on device", sandbox.Space},
	{"Cannot allocate memory", sandbox.Memory},
	{"memory exhausted", sandbox.Memory},
	{"out of memory allocating", sandbox.Memory},
	{"Resource temporarily unavailable", sandbox.Processes},
}

// limitIn finds a limit in what was said.
func limitIn(said string) sandbox.Limit {
	for line := range strings.Lines(said) {
		if ofSource.MatchString(line) {
			continue
		}
		for _, c := range complaints {
			if strings.Contains(line, c.text) {
				return c.limit
			}
		}
	}
	return ""
}

// ofSource is a line about a place in a source, or one that quotes it: the words in
// it may be the source's own.
var ofSource = regexp.MustCompile(`^(?: *\d* \||.*?:\d+:)`)

// command is a line of the script.
func command(argv ...string) string { return machine.CommandLine(argv...) + "\n" }

// quiet is a command that is heard only when it fails: the linker has warnings
// about QEMU itself.
func quiet(argv []string) string {
	const said = sandbox.Scratch + "/said"
	return fmt.Sprintf("if ! %s > %s 2>&1; then cat %s; exit 1; fi\n", machine.CommandLine(argv...), said, said)
}

// limited keeps the beginning of what is written to it, and its end: a compiler
// that was killed says so last.
type limited struct{ head, tail []byte }

const maxHead, maxTail = 192 << 10, 16 << 10 // bytes

func (w *limited) Write(p []byte) (int, error) {
	n := min(len(p), maxHead-len(w.head))
	w.head = append(w.head, p[:n]...)
	w.tail = append(w.tail, p[n:]...)
	if over := len(w.tail) - maxTail; over > maxTail {
		w.tail = append([]byte(nil), w.tail[over:]...)
	}
	return len(p), nil
}

// String is what was kept. The tail is at most twice maxTail.
func (w *limited) String() string { return string(w.head) + string(w.tail) }
