// Package bench measures VMMs from outside.
package bench

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a VMM process takes, in bytes. Sums are over its mappings.
type Memory struct {
	Virtual int64 // size of all mappings: what `pmap` totals
	RSS     int64 // resident, shared pages counted in full
	PSS     int64 // resident, shared pages divided by their users
	USS     int64 // resident in this process alone
	Guest   int64 // the part of RSS in the mapping that backs guest RAM
}

// ProcessMemory reads /proc/PID/smaps (Documentation/filesystems/proc.rst).
// ramBytes is the size of guest RAM: the anonymous mapping that is exactly as
// large backs the guest's memslot.
func ProcessMemory(pid int, ramBytes int64) (Memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return Memory{}, err
	}
	defer f.Close()
	return parseSmaps(bufio.NewScanner(f), ramBytes)
}

func parseSmaps(lines *bufio.Scanner, ramBytes int64) (m Memory, err error) {
	var size int64
	for lines.Scan() {
		key, rest, ok := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		// A mapping's own line has an address before the first colon, its
		// attributes a word and a number of kB.
		if !ok || len(fields) != 2 || fields[1] != "kB" {
			continue
		}
		kib, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("smaps: %q: %w", lines.Text(), err)
		}
		n := kib << 10
		switch key {
		case "Size":
			size = n
			m.Virtual += n
		case "Rss":
			m.RSS += n
			if size == ramBytes {
				m.Guest += n
			}
		case "Pss":
			m.PSS += n
		case "Private_Clean", "Private_Dirty":
			m.USS += n
		}
	}
	if m.Virtual == 0 {
		return Memory{}, fmt.Errorf("smaps: no mapping in it: has the process ended?")
	}
	return m, lines.Err()
}
