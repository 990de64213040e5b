package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

// cell runs a cell. Between its begin and end frames the machine does nothing
// but Run and, before and after it, idle for settle: time to read counters.
func (r runner) cell(c job.Cell, settle time.Duration) error {
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return err
		}
	}
	if err := steps(c.Dir, c.Prepare); err != nil {
		return err
	}
	if len(c.Prepare) > 0 {
		// What was prepared is written now, not while Run is measured.
		unix.Sync()
	}
	if err := r.text(job.FrameBegin, c.Name); err != nil {
		return err
	}
	time.Sleep(settle)
	out, err := measure(c)
	if err != nil {
		return err
	}
	time.Sleep(settle)
	if err := r.text(job.FrameEnd, c.Name); err != nil {
		return err
	}
	if err := r.data(job.FrameOutput, out); err != nil {
		return err
	}
	return steps(c.Dir, c.Cleanup)
}

// outputLimit is more than any benchmark prints.
const outputLimit = 256 << 10

// measure runs what is measured. Its output goes to memory, so that nothing else
// runs to take it.
func measure(c job.Cell) (job.Output, error) {
	out, err := memoryFile()
	if err != nil {
		return job.Output{}, err
	}
	defer out.Close()
	cmd := command(c.Dir, c.Run)
	cmd.Stdout, cmd.Stderr = out, out
	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return job.Output{}, fmt.Errorf("running %s: %w", c.Run[0], err)
	}
	text, err := content(out)
	if err != nil {
		return job.Output{}, fmt.Errorf("output of %s: %w", c.Run[0], err)
	}
	return job.Output{Cell: c.Name, Status: cmd.ProcessState.ExitCode(), Text: text, Took: took}, nil
}

func command(dir string, argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	return cmd
}

// memoryFile is a file without a name (memfd_create(2)).
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "output"), nil
}

func content(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, outputLimit+1))
	if len(b) > outputLimit {
		return "", fmt.Errorf("more than %d bytes", outputLimit)
	}
	return string(b), err
}

// steps runs programs that are not measured. What they print is told where one
// fails.
func steps(dir string, programs [][]string) error {
	for _, argv := range programs {
		out, err := command(dir, argv).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastBytes(out))
		}
	}
	return nil
}

// lastBytes is the end of a program's output, where its complaint stands.
func lastBytes(out []byte) string {
	const enough = 2000
	return strings.TrimSpace(string(out[max(0, len(out)-enough):]))
}
