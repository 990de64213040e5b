package mtree

import (
	"cmp"
	"slices"
)

// Answer is the region that answers at an address.
type Answer struct {
	Region *Region   // never an alias
	Offset uint64    // of the address in Region
	Path   []*Region // from the root of the address space to Region, aliases included
}

// Learn tells the tree which regions answer by themselves, from flat views of
// the same machine. The text of the tree prints containers, which answer only
// through their children, and devices alike as "i/o".
func (t *Tree) Learn(views []FlatView) {
	t.answering = make(map[string]bool)
	for _, view := range views {
		for _, r := range view.Ranges {
			t.answering[r.Name] = true
		}
	}
}

// Resolve finds the region that answers at addr in the named address space,
// as QEMU renders it: disabled regions and what is below them do not answer,
// children are clipped to their parent, the higher priority wins, an alias
// stands for its target, and where no child answers the region does unless it
// is a container.
//
// Limits, which come from the text: without Learn an i/o region that has
// children, or is the root of the space, is taken for a container. Of regions
// that overlap with equal priority the one added last answers in QEMU; here it
// is the first printed, which is the same one only where their starts are
// equal too. Two targets of one name cannot be told apart. An alias may map
// memory read-only, which only the flat view shows. The child of a hidden
// region can appear to be a child of the sibling printed before it; print with
// -D where that matters.
func (t *Tree) Resolve(space string, addr uint64) (Answer, bool) {
	s := t.Space(space)
	if s == nil {
		return Answer{}, false
	}
	r := resolver{tree: t, budget: maxSteps}
	return r.visit(s.Root, addr, nil)
}

// maxSteps bounds the regions looked at for one address: hostile text can
// hold aliases that show each other.
const maxSteps = 100_000

// resolver is one search.
type resolver struct {
	tree   *Tree
	budget int
}

// visit looks for the answer in region, whose ancestors are path.
func (s *resolver) visit(region *Region, addr uint64, path []*Region) (Answer, bool) {
	s.budget--
	if s.budget < 0 || region.Disabled || !region.Contains(addr) || slices.Contains(path, region) {
		return Answer{}, false
	}
	path = append(slices.Clip(path), region)
	if region.Alias != nil {
		return s.follow(region, addr, path)
	}
	for _, child := range byPriority(region.Children) {
		if answer, found := s.visit(child, addr, path); found {
			return answer, true
		}
	}
	if !s.tree.answers(region, len(path) == 1) {
		return Answer{}, false
	}
	return Answer{Region: region, Offset: addr - region.Start, Path: path}, true
}

// follow looks for the answer in the alias's target.
func (s *resolver) follow(alias *Region, addr uint64, path []*Region) (Answer, bool) {
	target := s.tree.target(alias.Alias.Target)
	if target == nil {
		return Answer{}, false
	}
	return s.visit(target, target.Start+alias.Alias.Start+(addr-alias.Start), path)
}

// byPriority sorts regions from high to low priority, keeping the order of
// equals.
func byPriority(regions []*Region) []*Region {
	return slices.SortedStableFunc(slices.Values(regions), func(a, b *Region) int {
		return cmp.Compare(b.Priority, a.Priority)
	})
}

// answers tells whether region answers where none of its children does.
func (t *Tree) answers(region *Region, root bool) bool {
	switch {
	case region.Kind != IO:
		return true
	case t.answering != nil:
		return t.answering[region.Name]
	default:
		return !root && len(region.Children) == 0
	}
}
