package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire/boottime"
	"virtlab/harness/job"
)

// runner answers on a console.
type runner struct {
	console *os.File
}

// do does all that spec asks for. First comes what is timed from outside; the
// memory is looked at when the guest is up.
func (r runner) do(spec job.Spec) error {
	if err := r.up(spec); err != nil {
		return err
	}
	if spec.MarkerBytes > 0 {
		if err := r.marker(spec.MarkerBytes); err != nil {
			return err
		}
	}
	if spec.Systemd {
		if err := r.systemd(); err != nil {
			return err
		}
	}
	if spec.Pages > 0 {
		if err := r.pages(spec); err != nil {
			return err
		}
	}
	for _, c := range spec.Cells {
		if err := r.cell(c, spec.Settle); err != nil {
			return fmt.Errorf("cell %s: %w", c.Name, err)
		}
	}
	return r.text(job.FrameDone, "")
}

func (r runner) up(spec job.Spec) error {
	passed, err := boottime.Passed()
	if err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	up := job.Up{InitBoottime: passed, Kernel: unix.ByteSliceToString(u.Release[:]), CPUs: runtime.NumCPU()}
	if len(spec.Cells) > 0 {
		up.Sysbench = sysbenchVersion()
	}
	up.Boottime = boottime.Now()
	return r.data(job.FrameUp, up)
}

// sysbenchVersion is empty where there is no sysbench: not all cells need it.
func sysbenchVersion() string {
	out, err := exec.Command("sysbench", "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// marker writes a line of n bytes and tells how long it took until the serial
// port had it.
func (r runner) marker(n int) error {
	line := strings.Repeat(".", n-1) + "\n"
	if err := drain(r.console); err != nil {
		return err
	}
	start := time.Now()
	if _, err := r.console.WriteString(line); err != nil {
		return fmt.Errorf("marker: %w", err)
	}
	if err := drain(r.console); err != nil {
		return err
	}
	return r.data(job.FrameMarker, job.Marker{Bytes: n, Took: time.Since(start)})
}

func (r runner) data(frame string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s frame: %w", frame, err)
	}
	return job.Encode(r.console, job.Frame{Name: frame, Data: b})
}

func (r runner) text(frame, text string) error {
	return job.Encode(r.console, job.Frame{Name: frame, Data: []byte(text)})
}

// fault tells why the job is not done, outside and to whom it is returned.
func (r runner) fault(err error) error {
	_ = r.text(job.FrameFault, err.Error())
	return err
}
