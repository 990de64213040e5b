package edu

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// edges are the operands where each is at one of its ends.
func (o *Op) edges() []Values {
	all := make([]Values, 1<<len(o.Operands))
	for i := range all {
		for j, x := range o.Operands {
			v := uint64(x.Min)
			if i>>j&1 == 1 {
				v = uint64(*x.Max)
			}
			all[i] = append(all[i], v)
		}
	}
	return all
}

// Draw draws operands to ask the device with, the small ones first: the ends of
// their ranges, 1, and numbers of 4, 8, 12, ... bits. What is right for small
// operands only is found out by where it begins to fail.
func (o *Op) Draw(rand *rand.Rand) []Values {
	all := []Values{o.pick(func(x Operand) uint64 { return uint64(x.Min) }), o.pick(func(x Operand) uint64 { return uint64(*x.Max) }),
		o.pick(func(x Operand) uint64 { return x.clamp(1) })}
	for n := 4; n <= o.maxBits(); n += 4 {
		all = append(all, o.pick(func(x Operand) uint64 { return x.drawBits(rand, n) }))
	}
	all = append(all, o.pick(func(x Operand) uint64 { return x.draw(rand) }), o.pick(func(x Operand) uint64 { return x.draw(rand) }))
	slices.SortFunc(all, bySize)
	return slices.CompactFunc(all, slices.Equal[Values])
}

// bySize orders operands by the greatest of them, then by the others.
func bySize(a, b Values) int {
	if len(a) == 0 {
		return 0
	}
	if x, y := slices.Max(a), slices.Max(b); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	return slices.Compare(a, b)
}

func (o *Op) pick(f func(Operand) uint64) Values {
	v := make(Values, len(o.Operands))
	for i, x := range o.Operands {
		v[i] = f(x)
	}
	return v
}

// maxBits is the length of the greatest operand.
func (o *Op) maxBits() (n int) {
	for _, x := range o.Operands {
		n = max(n, bits.Len64(uint64(*x.Max)))
	}
	return n
}

func (x Operand) clamp(v uint64) uint64 { return min(max(v, uint64(x.Min)), uint64(*x.Max)) }

// drawBits draws a number of n bits, or the nearest that the operand takes.
func (x Operand) drawBits(rand *rand.Rand, n int) uint64 {
	top := uint64(1) << (n - 1)
	return x.clamp(top | rand.Uint64()&(top-1))
}

func (x Operand) draw(rand *rand.Rand) uint64 {
	span := uint64(*x.Max - x.Min)
	if span == ^uint64(0) {
		return rand.Uint64()
	}
	return uint64(x.Min) + rand.Uint64N(span+1)
}
