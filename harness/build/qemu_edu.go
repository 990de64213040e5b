package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"virtlab/harness/result"
)

// EduVariantRecipe builds a QEMU that differs from the one in qemuDir, a
// result of QEMURecipe, in its edu device alone: eduC replaces hw/misc/edu.c.
// It compiles one file and links, in about a second, reads the shared tree and
// writes only its own result, so any number can run at once.
//
// An edu.c that does not compile or link is the submission's failure, with the
// compiler's first errors. The compiler runs with the caller's rights: it
// reads what the source includes; a student's file is package compile's.
func EduVariantRecipe(qemuDir, name string, eduC []byte) Recipe {
	return Recipe{
		Name:   "qemu-" + name,
		Inputs: []string{eduVariantVersion, filepath.Base(qemuDir), string(eduC)},
		Expect: time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			v := eduVariant{base: qemuDir, dir: dir, log: log}
			return v.make(ctx, eduC)
		},
	}
}

const eduVariantVersion = "1"

type eduVariant struct {
	base, dir string
	log       *Log
}

func (v eduVariant) make(ctx context.Context, eduC []byte) error {
	source, object := filepath.Join(v.dir, qemuEduStock), filepath.Join(v.dir, "edu.o")
	commands, err := EduCommandsFor(v.base, source, object, QEMUBinary(v.dir))
	if err != nil {
		return err
	}
	if err := os.WriteFile(source, eduC, 0o644); err != nil {
		return err
	}
	v.log.Step("compiling edu.c")
	// Where it was built does not show in it.
	if err := v.run(ctx, "compile", append(commands.Compile, "-ffile-prefix-map="+v.dir+"=.")); err != nil {
		return err
	}
	v.log.Step("linking")
	if err := v.run(ctx, "link", commands.Link); err != nil {
		return err
	}
	if err := os.Remove(object); err != nil {
		return err
	}
	return os.Symlink(QEMUFirmware(v.base), QEMUFirmware(v.dir))
}

// EduCommands are the two commands that make a QEMU with another edu device.
// They run in Dir, and write the object and the binary alone.
type EduCommands struct {
	Dir           string
	Compile, Link []string
}

// EduCommandsFor gives the commands for the device in the file source, in the
// QEMU of qemuDir, a result of QEMURecipe. Paths are absolute.
func EduCommandsFor(qemuDir, source, object, binary string) (EduCommands, error) {
	var plan eduPlan
	b, err := os.ReadFile(filepath.Join(qemuDir, qemuEduPlan))
	if err == nil {
		err = json.Unmarshal(b, &plan)
	}
	if err != nil {
		return EduCommands{}, result.Errorf(result.Host, "%s is not a QEMU that variants can be built from: %w", qemuDir, err).WithHint("run make setup")
	}
	for _, argv := range [][]string{plan.Compile, plan.Link} {
		replaceArg(argv, eduSource, source)
		replaceArg(argv, eduObject, object)
		replaceArg(argv, eduBinary, binary)
	}
	return EduCommands{
		Dir: filepath.Join(qemuDir, qemuTree, "build"),
		// Errors are plain to read, and the call of a function that nobody declared,
		// which older compilers let through to fail at the end of linking, is one
		// with a line.
		Compile: append(plan.Compile, "-fdiagnostics-color=never", "-Werror=implicit-function-declaration"),
		Link:    append(plan.Link, "-s"),
	}, nil
}

// run runs one command of the plan in the shared build directory; what says
// what edu.c does not do when it fails.
func (v eduVariant) run(ctx context.Context, what string, argv []string) error {
	var said bytes.Buffer
	cmd := command(ctx, filepath.Join(v.base, qemuTree, "build"), argv...)
	cmd.Stdout = v.log
	cmd.Stderr = io.MultiWriter(v.log, &said)
	fmt.Fprintf(v.log, "+ %s\n", strings.Join(argv, " "))
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return result.Errorf(result.Host, "%s: %w", argv[0], err).WithHint("run make setup, which installs the compiler")
	}
	return result.Errorf(result.Submission, "edu.c does not %s:\n%s", what, CompilerErrors(said.String(), v.dir))
}

// command is a command in a process group of its own, in English, that is
// killed as a whole when ctx ends.
func command(ctx context.Context, dir string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// output is what a command prints to stdout.
func output(ctx context.Context, dir string, argv ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := command(ctx, dir, argv...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

var (
	diagnosis = regexp.MustCompile(`(?m)^\S[^\n]*?: (?:fatal )?(?:error|warning|note): `)
	isError   = regexp.MustCompile(`: (?:fatal )?error: `)
	linkError = regexp.MustCompile(`(?m)^.*: (?:undefined reference to|multiple definition of) .*$`)
)

// maxErrors is how many errors a report quotes: the first ones are what a
// student has to look at, the rest mostly follow from them.
const maxErrors = 5

// CompilerErrors picks the first errors from what gcc or the linker said, gcc's
// with the source line it quotes, and names files as they are in dir.
func CompilerErrors(said, dir string) string {
	said = strings.ReplaceAll(said, dir+"/", "")
	errs := linkError.FindAllString(said, maxErrors)
	if len(errs) == 0 {
		errs = gccErrors(said)
	}
	if len(errs) == 0 { // neither: killed, or a message of another form
		return firstLines(said, 2*maxErrors)
	}
	return strings.Join(errs, "\n")
}

func gccErrors(said string) (errs []string) {
	starts := diagnosis.FindAllStringIndex(said, -1)
	for i, at := range starts {
		end := len(said)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if isError.MatchString(said[at[0]:at[1]]) && len(errs) < maxErrors {
			errs = append(errs, withoutContext(said[at[0]:end]))
		}
	}
	return errs
}

// withoutContext drops gcc's "In function ..." that introduces the next block.
func withoutContext(block string) string {
	var kept []string
	for _, line := range strings.Split(strings.TrimRight(block, "\n"), "\n") {
		if strings.Contains(line, ": In function ") || strings.HasSuffix(line, ": At top level:") {
			break
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}

func firstLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = append(lines[:n], "...")
	}
	return strings.Join(lines, "\n")
}

// eduPiece is one piece of the reference function and its place in edu.c.
type eduPiece struct {
	file   string // in fixtures/qemu
	anchor *regexp.Regexp
	after  bool   // after the anchor, not before it
	where  string // the anchor in words
}

// The anchors are read off edu.c of QEMU 7.2.
var eduPieces = []eduPiece{
	{"gcd-state.c.inc", regexp.MustCompile(`(?m)^    uint32_t irq_status;\n`), true, "irq_status in struct EduState"},
	{"gcd-function.c.inc", regexp.MustCompile(`(?m)^static uint64_t edu_mmio_read\(`), false, "the function edu_mmio_read"},
	{"gcd-read.c.inc", regexp.MustCompile(`(?m)^    case 0x80:\n +dma_rw\(edu, false, &val, &edu->dma\.src`), false, "case 0x80 of edu_mmio_read"},
	{"gcd-write.c.inc", regexp.MustCompile(`(?m)^    case 0x80:\n +dma_rw\(edu, true, &val, &edu->dma\.src`), false, "case 0x80 of edu_mmio_write"},
}

// InsertFunction adds the reference function, gcd of the registers 0x28 and
// 0x2c in 0x30, to stock, the edu.c of some QEMU. The pieces come from
// fixtures, the directory fixtures/qemu, which documents the registers.
func InsertFunction(stock []byte, fixtures string) ([]byte, error) {
	edu := stock
	for _, p := range eduPieces {
		text, err := os.ReadFile(filepath.Join(fixtures, p.file))
		if err != nil {
			return nil, err
		}
		edu, err = insertion{anchor: p.anchor, after: p.after, text: string(text)}.insert(edu)
		if err != nil {
			return nil, result.Errorf(result.Host, "%s has no place of its own in edu.c: %s: %w", p.file, p.where, err).
				WithHint("this QEMU's edu.c differs from those known: give eduPieces an anchor that fits it")
		}
	}
	return edu, nil
}
