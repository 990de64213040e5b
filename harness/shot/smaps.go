package shot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// mapping is an entry of /proc/PID/smaps (Documentation/filesystems/proc.rst).
type mapping struct {
	span
	perms string // "rw-p"
	name  string // of the file, or "[heap]"; empty: anonymous
	use   Usage
}

// span is a range of addresses: from lo up to hi.
type span struct{ lo, hi uint64 }

func (s span) bytes() int64 { return int64(s.hi - s.lo) }

// overlap is what s and t have in common.
func (s span) overlap(t span) span {
	lo, hi := max(s.lo, t.lo), min(s.hi, t.hi)
	return span{lo, max(lo, hi)}
}

func (u *Usage) add(v Usage) {
	u.Virtual += v.Virtual
	u.RSS += v.RSS
	u.PSS += v.PSS
	u.USS += v.USS
}

// readSmaps reads the mappings of a process.
func readSmaps(pid int) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSmaps(f)
}

// mappingLine begins an entry: address, permissions, offset, device, inode, name.
var mappingLine = regexp.MustCompile(`^([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ \d+ *(.*)$`)

// maxSize keeps sums of sizes from overflowing: an address space has 57 bits at
// most (SDM vol. 3, 4.5).
const maxSize = 1 << 57

func parseSmaps(r io.Reader) (all []mapping, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text := lines.Text()
		if m := mappingLine.FindStringSubmatch(text); m != nil {
			next, err := newMapping(m)
			if err != nil {
				return nil, fmt.Errorf("smaps: %q: %w", text, err)
			}
			all = append(all, next)
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("smaps: it begins with %q, which is no mapping", text)
		}
		if err := all[len(all)-1].attribute(text); err != nil {
			return nil, fmt.Errorf("smaps: %q: %w", text, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("smaps: %w", err)
	}
	if len(all) == 0 {
		return nil, errors.New("smaps: no mapping in it: has the process ended?")
	}
	return all, nil
}

// newMapping makes the entry of a line that matched mappingLine.
func newMapping(m []string) (mapping, error) {
	lo, _ := strconv.ParseUint(m[1], 16, 64)
	hi, _ := strconv.ParseUint(m[2], 16, 64)
	if lo >= hi || hi-lo > maxSize {
		return mapping{}, errors.New("no range of addresses")
	}
	s := span{lo, hi}
	return mapping{span: s, perms: m[3], name: m[4], use: Usage{Virtual: s.bytes()}}, nil
}

// attribute takes a line such as "Rss:  12 kB". Pages of hugetlbfs are in none of
// the usual sums, "for historical reasons"; they are resident all the same.
func (m *mapping) attribute(text string) error {
	key, rest, _ := strings.Cut(text, ":")
	number, isSize := strings.CutSuffix(strings.TrimSpace(rest), " kB")
	if !isSize {
		return nil
	}
	kib, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	if kib < 0 || kib > maxSize>>10 {
		return errors.New("no size")
	}
	n := kib << 10
	switch key {
	case "Rss":
		m.use.RSS += n
	case "Pss":
		m.use.PSS += n
	case "Private_Clean", "Private_Dirty":
		m.use.USS += n
	case "Shared_Hugetlb":
		m.use.add(Usage{RSS: n, PSS: n})
	case "Private_Hugetlb":
		m.use.add(Usage{RSS: n, PSS: n, USS: n})
	}
	return nil
}
