package shot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// statistics reads KVM's counters of one process's virtual machines: a directory
// PID-FD each, with a file for each counter (virt/kvm/kvm_main.c,
// kvm_create_vm_debugfs). A nil *statistics has none.
type statistics struct {
	root string
	pid  int
	dirs []string
}

func newStatistics(kvm bool, pid int) *statistics {
	if !kvm {
		return nil
	}
	return &statistics{root: filepath.Join(debugFS, "kvm"), pid: pid}
}

// read gives the counters, summed over the process's virtual machines.
func (s *statistics) read() (*Exits, error) {
	if s == nil {
		return nil, nil
	}
	if err := s.find(); err != nil {
		return nil, err
	}
	sum := Exits{}
	for _, dir := range s.dirs {
		if err := addCounters(sum, dir); err != nil {
			return nil, err
		}
	}
	return &sum, nil
}

// find looks for the directories once. Their names have the number of the
// *thread* that made the machine, as the kernel counts outside of all PID
// namespaces: in a container no name fits.
func (s *statistics) find() error {
	if len(s.dirs) > 0 {
		return nil
	}
	tasks, err := threadIDs(s.pid)
	if err != nil {
		return err
	}
	for _, tid := range tasks {
		dirs, err := filepath.Glob(filepath.Join(s.root, fmt.Sprintf("%d-*", tid)))
		if err != nil {
			return err
		}
		s.dirs = append(s.dirs, dirs...)
	}
	if len(s.dirs) > 0 {
		return nil
	}
	if _, err := os.ReadDir(s.root); err != nil {
		return err // usually: only root may look
	}
	return errors.New("none has the VMM's process id: does it run in another PID namespace, or without KVM?")
}

// addCounters adds the counters of a virtual machine.
func addCounters(sum Exits, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type() != fs.FileMode(0) {
			continue // its CPUs' own
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			sum[e.Name()] += n
		}
	}
	return nil
}
