package shot

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// view is a look at a VMM's memory.
type view struct {
	pid   int
	pages []uint64 // guest-physical addresses of pages that hold nonce
	nonce uint64
	ram   uint64 // bytes of guest RAM
}

// take measures the process's memory and counts its threads. The process stands
// still meanwhile, so that all figures are of one moment.
func (v view) take() (_ *Memory, threads int, err error) {
	resume, err := freeze(v.pid)
	if err != nil {
		return nil, 0, err
	}
	defer resume()
	threads, err = countThreads(v.pid)
	if err != nil {
		return nil, 0, err
	}
	mappings, err := readSmaps(v.pid)
	if err != nil {
		return nil, threads, err
	}
	space, done, err := openAddressSpace(v.pid)
	if err != nil {
		return nil, threads, err
	}
	defer done()
	ram, err := v.findRAM(mappings, space)
	if err != nil {
		return nil, threads, err
	}
	m, err := split(mappings, ram, space)
	return m, threads, err
}

// findRAM finds the range of the process's addresses that backs guest RAM.
func (v view) findRAM(mappings []mapping, space addressSpace) (span, error) {
	if v.nonce == 0 || len(v.pages) == 0 {
		return span{}, errors.New("the guest was given no page to fill")
	}
	var found []uint64
	for _, m := range mappings {
		if m.use.RSS == 0 || m.perms[0] != 'r' {
			continue // nothing in it, or not to be read
		}
		at, err := space.find(m.span, v.nonce)
		if err != nil {
			return span{}, err
		}
		found = append(found, at...)
	}
	base, err := agree(found, v.pages)
	return span{base, base + v.ram}, err
}

// agree finds the address of guest-physical address 0 in the process: the one
// distance by which each of pages comes to lie on one of found. Pages are all
// alike, so which of found is which is not known before. A VMM may hold copies of
// some.
func agree(found, pages []uint64) (uint64, error) {
	votes := map[uint64]int{}
	for _, hva := range found {
		for _, gpa := range pages {
			votes[hva-gpa]++
		}
	}
	var bases []uint64
	for base, n := range votes {
		if n == len(pages) {
			bases = append(bases, base)
		}
	}
	switch len(bases) {
	case 1:
		return bases[0], nil
	case 0:
		return 0, fmt.Errorf("guest RAM was not found: %d of the guest's %d pages are in the VMM's memory, and no base suits all", len(found), len(pages))
	default:
		return 0, fmt.Errorf("guest RAM was found %d times: fewer pages than it takes to tell", len(bases))
	}
}

// split sums the mappings inside ram and those outside. One that lies across an
// edge is divided by its pages: Linux makes one mapping of neighbours that are
// alike.
func split(mappings []mapping, ram span, space addressSpace) (*Memory, error) {
	var m Memory
	for _, each := range mappings {
		switch in := each.overlap(ram); in.bytes() {
		case 0:
			m.Own.add(each.use)
		case each.bytes():
			m.Guest.add(each.use)
		default:
			guest, own, err := divide(each, in, space)
			if err != nil {
				return nil, err
			}
			m.Guest.add(guest)
			m.Own.add(own)
		}
	}
	if m.Guest.Virtual != ram.bytes() {
		return nil, fmt.Errorf("only %d of the %d bytes of guest RAM are mapped in one piece", m.Guest.Virtual, ram.bytes())
	}
	return &m, nil
}

// count is a number of present pages: of this process alone, and others.
type count struct{ exclusive, others int64 }

// divide shares out a mapping's use by where its pages are. Pages of its own are
// known one by one; of the others only the sum is, and the zero page stands among
// them, which is in no sum: each counts the same.
func divide(m mapping, in span, space addressSpace) (inside, outside Usage, err error) {
	var all, part count
	err = space.states(m.span, func(addr uint64, p pageState) error {
		if !p.present() {
			return nil
		}
		all.see(p)
		if in.lo <= addr && addr < in.hi {
			part.see(p)
		}
		return nil
	})
	inside = Usage{Virtual: in.bytes(), USS: share(m.use.USS, part.exclusive, all.exclusive)}
	inside.RSS = inside.USS + share(m.use.RSS-m.use.USS, part.others, all.others)
	inside.PSS = inside.USS + share(m.use.PSS-m.use.USS, part.others, all.others)
	outside = Usage{m.use.Virtual - inside.Virtual, m.use.RSS - inside.RSS, m.use.PSS - inside.PSS, m.use.USS - inside.USS}
	return inside, outside, err
}

func (c *count) see(p pageState) {
	if p.exclusive() {
		c.exclusive++
	} else {
		c.others++
	}
}

// share is n times part of whole.
func share(n, part, whole int64) int64 {
	if whole == 0 {
		return 0
	}
	return int64(float64(n) * float64(part) / float64(whole))
}

// stopWait is how long a process may take to stop. A thread of it may be in the
// middle of a system call that does not end at once, and on an emulated L1 a vCPU
// now and then runs on for more than five seconds.
const stopWait = 30 * time.Second

// freeze stops all threads of a process, and gives what lets them go on.
func freeze(pid int) (resume func(), err error) {
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stopping the VMM: %w", err)
	}
	resume = func() { _ = unix.Kill(pid, unix.SIGCONT) }
	var running string
	for start := time.Now(); time.Since(start) < stopWait; time.Sleep(time.Millisecond) {
		running, err = notStopped(pid)
		if err != nil {
			resume()
			return nil, fmt.Errorf("stopping the VMM: %w", err)
		}
		if running == "" {
			return resume, nil
		}
	}
	resume()
	return nil, fmt.Errorf("the VMM did not stop in %s: thread %s", stopWait, running)
}

// notStopped is a thread of the process that has not stopped, as its
// /proc/PID/stat begins: number, name, state; empty: all have.
func notStopped(pid int) (thread string, err error) {
	tasks, err := threadIDs(pid)
	if err != nil {
		return "", err
	}
	for _, tid := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has just ended
		}
		if err != nil {
			return "", err
		}
		if s := taskState(string(b)); s != 'T' && s != 't' {
			wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/wchan", pid, tid))
			return fmt.Sprintf("%.90s in %s", b, wchan), nil
		}
	}
	return "", nil
}

// taskState is the state in /proc/PID/stat: the letter behind the name, which may
// hold anything (proc_pid_stat(5)). 0 where there is none.
func taskState(stat string) byte {
	i := strings.LastIndex(stat, ") ")
	if i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// threadIDs are the threads of a process.
func threadIDs(pid int) (ids []int, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, err
}

func countThreads(pid int) (int, error) {
	ids, err := threadIDs(pid)
	return len(ids), err
}
