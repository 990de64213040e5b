package mtree

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The fixed parts of QEMU's text.
const (
	spacePrefix  = "address-space: "
	targetPrefix = "memory-region: "
	indent       = "  "
	disabledMark = " [disabled]"
	overflowMark = "[DETECTED OVERFLOW!] "
)

var (
	regionLine = regexp.MustCompile(`^(\[DETECTED OVERFLOW!\] )?((?:  )+)` + // overflow, indentation
		`([0-9a-f]{16})-([0-9a-f]{16}) \(prio (-?[0-9]+), (nv-)?([a-z/]+)\): ` + // range, priority, kind
		`(.*?)( \[disabled\])?` + ownerPattern + `$`)
	aliasText = regexp.MustCompile(`^alias (.*) @(.*) ([0-9a-f]{16})-([0-9a-f]{16})$`)
)

// ownerPattern is what -o adds: " orphan", or an owner, a parent or both.
const ownerPattern = `(?: (orphan|(?:owner|parent):\{[^{}]*\}(?: parent:\{[^{}]*\})?))?`

// maxDepth bounds the nesting that is read, well above that of any machine.
const maxDepth = 64

// lineError says which line was not understood.
func lineError(number int, line, why string) error {
	return fmt.Errorf("mtree: line %d: %s: %q", number, why, line)
}

// Parse reads the output of "info mtree". Line ends may be LF or CRLF.
func Parse(text string) (*Tree, error) {
	p := &parser{tree: &Tree{}}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if why := p.line(line); why != "" {
			return nil, lineError(i+1, line, why)
		}
	}
	p.endBlock()
	if len(p.tree.Spaces) == 0 {
		return nil, fmt.Errorf("mtree: no %q in %d bytes of text: is it the output of info mtree?", spacePrefix, len(text))
	}
	return p.tree, nil
}

// parser holds the block being read.
type parser struct {
	tree   *Tree
	names  []string  // of the block's headers, empty outside of blocks
	target bool      // the block is a target
	path   []*Region // from the block's root to the last region read
}

// line takes one line and says what is wrong with it, or "".
func (p *parser) line(line string) string {
	if line == "" {
		p.endBlock()
		return ""
	}
	if name, is := strings.CutPrefix(line, spacePrefix); is {
		return p.header(name, false)
	}
	if name, is := strings.CutPrefix(line, targetPrefix); is {
		return p.header(name, true)
	}
	if len(p.names) == 0 {
		return "text outside of an address space"
	}
	region, level, why := parseRegion(line)
	if why != "" {
		return why
	}
	return p.add(region, level)
}

// header begins a block, or names one more address space of the same root.
func (p *parser) header(name string, target bool) string {
	switch {
	case p.path != nil:
		return "a blank line was expected before the next block"
	case len(p.names) > 0 && (target || p.target):
		return "two headers of one block"
	case !target && len(p.tree.Targets) > 0:
		return "an address space after the alias targets"
	}
	p.names, p.target = append(p.names, name), target
	return ""
}

// endBlock puts what was read into the tree.
func (p *parser) endBlock() {
	root := &Region{Hidden: true, Disabled: true}
	if p.path != nil {
		root = p.path[0]
	}
	for _, name := range p.names {
		if p.target {
			p.tree.Targets = append(p.tree.Targets, Target{Name: name, Root: root})
		} else {
			p.tree.Spaces = append(p.tree.Spaces, AddressSpace{Name: name, Root: root})
		}
	}
	p.names, p.target, p.path = nil, false, nil
}

// add hangs region into the tree, at level 1 for a root. QEMU does not print
// disabled regions but prints what is below them, so levels can be missing.
func (p *parser) add(region *Region, level int) string {
	if level > maxDepth {
		return "nested too deeply"
	}
	if level == 1 && p.path != nil {
		return "a second root region"
	}
	p.path = p.path[:min(len(p.path), level-1)]
	for len(p.path) < level-1 {
		p.push(&Region{Hidden: true, Disabled: true})
	}
	p.push(region)
	return ""
}

// push makes region the child of the last one on the path.
func (p *parser) push(region *Region) {
	if n := len(p.path); n > 0 {
		p.path[n-1].Children = append(p.path[n-1].Children, region)
	}
	p.path = append(p.path, region)
}

// parseRegion reads a region's line and its level.
func parseRegion(line string) (region *Region, level int, why string) {
	m := regionLine.FindStringSubmatch(line)
	if m == nil {
		return nil, 0, "not a region"
	}
	priority, err := strconv.ParseInt(m[5], 10, 32)
	if err != nil {
		return nil, 0, "the priority is no 32-bit number"
	}
	region = &Region{
		Overflow: m[1] != "", Start: hex(m[3]), End: hex(m[4]), Priority: int(priority),
		Nonvolatile: m[6] != "", Kind: Kind(m[7]), Name: m[8], Disabled: m[9] != "", Owner: m[10],
	}
	if a := aliasText.FindStringSubmatch(m[8]); a != nil {
		region.Name = a[1]
		region.Alias = &Alias{Target: a[2], Start: hex(a[3]), End: hex(a[4])}
	}
	if region.End < region.Start && !region.Overflow {
		return nil, 0, "the range ends before it starts"
	}
	return region, len(m[2]) / len(indent), ""
}

// hex reads 16 hexadecimal digits that a pattern has matched.
func hex(digits string) uint64 {
	n, _ := strconv.ParseUint(digits, 16, 64)
	return n
}
