package class

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Shard is a part of a class: the Index-th of Count, from 1. The zero value is
// the whole class.
type Shard struct{ Index, Count int }

// ParseShard reads "I/N".
func ParseShard(s string) (Shard, error) {
	i, n, found := strings.Cut(s, "/")
	index, err1 := strconv.Atoi(i)
	count, err2 := strconv.Atoi(n)
	if !found || err1 != nil || err2 != nil || index < 1 || index > count {
		return Shard{}, fmt.Errorf("%q: want I/N with I from 1 to N, for example 2/4", s)
	}
	return Shard{index, count}, nil
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// Whole says whether all submissions are in it.
func (s Shard) Whole() bool { return s.Count <= 1 }

// Has says whether a submission is in the shard. That depends on nothing but its
// name (the first 8 bytes of its SHA-256, big-endian, modulo Count), so it stays
// where it is when others come or go. A hash that is weak in its low bits would
// put names that differ like "a-1" and "b-2" all into one of two shards.
func (s Shard) Has(name string) bool {
	if s.Whole() {
		return true
	}
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])%uint64(s.Count) == uint64(s.Index-1)
}
