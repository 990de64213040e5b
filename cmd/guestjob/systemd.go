package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"virtlab/harness/job"
)

// systemd waits for the end of the start-up and asks systemd about it. Asked
// before, systemd-analyze says that it is not yet finished.
func (r runner) systemd() error {
	state, err := systemState()
	if err != nil {
		return err
	}
	s := job.Systemd{State: state}
	if s.Userspace, err = userspaceStart(); err != nil {
		return err
	}
	if s.Analyze, err = ask("systemd-analyze", "time"); err != nil {
		return err
	}
	if s.Failed, err = ask("systemctl", "--failed", "--plain", "--no-legend", "--no-pager"); err != nil {
		return err
	}
	return r.data(job.FrameSystemd, s)
}

// systemState waits until systemd's job queue is empty. The exit status is 1 for
// every state but "running".
func systemState() (string, error) {
	out, err := exec.Command("systemctl", "is-system-running", "--wait").CombinedOutput()
	switch state := strings.TrimSpace(string(out)); state {
	case "running", "degraded":
		return state, nil
	default:
		return "", fmt.Errorf("systemctl is-system-running --wait: %q (%v): the guest did not come up", lastBytes(out), err)
	}
}

// userspaceStart is when systemd started, by CLOCK_MONOTONIC.
func userspaceStart() (time.Duration, error) {
	out, err := ask("systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value")
	if err != nil {
		return 0, err
	}
	us, err := strconv.ParseInt(out, 10, 64)
	if err != nil || us <= 0 {
		return 0, fmt.Errorf("systemd's UserspaceTimestampMonotonic is %q: not a number of microseconds", out)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// ask gives what a program prints.
func ask(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastBytes(out))
	}
	return strings.TrimSpace(string(out)), nil
}
