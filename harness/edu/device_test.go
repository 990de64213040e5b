package edu

import (
	"hash/fnv"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFactorial32(t *testing.T) {
	assert.EqualValues(t, 0x375f00, Factorial32(10), "the course's example")
	assert.EqualValues(t, 0x80000000, Factorial32(33), "the last one that is not 0")
	for n := range uint32(50) {
		exact := new(big.Int).MulRange(1, int64(n))
		wrapped := new(big.Int).Mod(exact, big.NewInt(1<<32))
		assert.EqualValues(t, wrapped.Uint64(), Factorial32(n), "%d!", n)
	}
	assert.Zero(t, Factorial32(0xffffffff))
}

func TestGCD(t *testing.T) {
	for _, c := range []struct{ a, b, want uint32 }{
		{48, 18, 6}, {18, 48, 6}, {1071, 462, 21}, {7, 13, 1}, {0, 5, 5}, {5, 0, 5}, {0, 0, 0},
		{0xffffffff, 0xfffffffe, 1}, {0x80000000, 0x40000000, 0x40000000},
	} {
		assert.Equal(t, c.want, GCD(c.a, c.b), "gcd(%d, %d)", c.a, c.b)
	}
}

func TestLive(t *testing.T) {
	assert.EqualValues(t, 0xedcba987, Live(0x12345678))
}

func TestPatternIsThatOfTheTestProgram(t *testing.T) {
	sum := fnv.New32a()
	sum.Write(Pattern(7, 100))
	assert.EqualValues(t, 0x25df67a3, sum.Sum32(), "dma_sum of testdata/reference.answers.txt")
	assert.Equal(t, Pattern(1, 10), Pattern(0, 10))
	assert.NotEqual(t, Pattern(1, 10), Pattern(2, 10))
}

func TestDrawDMA(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 { // one in 256 would end in a zero
		seed, size := DrawDMA(rng)
		assert.True(t, 0 < size && size < BufferSize, "%d bytes", size)
		assert.NotZero(t, Pattern(seed, size)[size-1], "what ends in a zero does not show that it was left out")
	}
}
