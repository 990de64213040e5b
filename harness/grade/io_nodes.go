package grade

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// chars are character devices by name, with their majors.
type chars map[string]int

// parseChars reads /proc/devices, and /proc/misc, whose devices have nodes
// already (major 0 here).
func parseChars(devices, misc string) chars {
	all := chars{}
	head, _, _ := strings.Cut(devices, "Block devices:")
	for line := range strings.Lines(head) {
		var major int
		var name string
		if n, _ := fmt.Sscan(line, &major, &name); n == 2 {
			all[name] = major
		}
	}
	for line := range strings.Lines(misc) {
		if f := strings.Fields(line); len(f) == 2 {
			all[f[1]] = 0
		}
	}
	return all
}

func (c chars) without(before chars) chars {
	added := chars{}
	for name, major := range c {
		if _, old := before[name]; !old {
			added[name] = major
		}
	}
	return added
}

func (c chars) names() (all []string) {
	for name := range c {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (c chars) String() string {
	var all []string
	for _, name := range c.names() {
		all = append(all, fmt.Sprintf("%s (major %d)", name, c[name]))
	}
	return strings.Join(all, ", ")
}

// devPath is a device node in a C program's text.
var devPath = regexp.MustCompile(`"/dev/([A-Za-z0-9_][A-Za-z0-9_.-]{0,60})"`)

// node is a character device with the minor number 0.
type node struct {
	path  string
	major int
}

// nodes are the device nodes that a program needs: those it names, and the
// course's. A node of the name of a device is for that one.
func nodes(source string, added chars) (all []node) {
	names := []string{"edu"}
	for _, m := range devPath.FindAllStringSubmatch(source, 64) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if major := added.majorFor(name); major > 0 {
			all = append(all, node{"/dev/" + name, major})
		}
	}
	return all
}

// majorFor is the major for a node: of the device with its name, else of the
// first that has one.
func (c chars) majorFor(node string) int {
	if major := c[node]; major > 0 {
		return major
	}
	for _, name := range c.names() {
		if c[name] > 0 {
			return c[name]
		}
	}
	return 0
}
