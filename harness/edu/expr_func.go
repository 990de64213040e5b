package edu

import (
	"fmt"
	"maps"
	"math/big"
	"math/bits"
	"slices"
)

// function is one that expressions may call.
type function struct {
	min, max int // arguments
	usage    string
	value    func([]*big.Int) (*big.Int, error) // nil: cond, which is lazy
}

const anyNumber = 64 // of arguments

// functions are what students' devices compute, and the integer types of Go,
// which cut a number to their width as C's do.
var functions = map[string]function{
	"abs":       {1, 1, "abs(x)", func(a []*big.Int) (*big.Int, error) { return new(big.Int).Abs(a[0]), nil }},
	"cond":      {3, 3, "cond(c, x, y) is x where c is not 0, else y", nil},
	"factorial": {1, 1, "factorial(n)", factorial},
	"fib":       {1, 1, "fib(n): 0, 1, 1, 2, 3, 5, ...", fib},
	"gcd":       {2, 2, "gcd(a, b), with gcd(x, 0) = x", gcd},
	"lcm":       {2, 2, "lcm(a, b), with lcm(x, 0) = 0", lcm},
	"max":       {1, anyNumber, "max(a, b, ...)", func(a []*big.Int) (*big.Int, error) { return slices.MaxFunc(a, (*big.Int).Cmp), nil }},
	"min":       {1, anyNumber, "min(a, b, ...)", func(a []*big.Int) (*big.Int, error) { return slices.MinFunc(a, (*big.Int).Cmp), nil }},
	"popcount":  {1, 1, "popcount(x): the bits that are set", popcount},
	"pow":       {2, 2, "pow(x, n), or pow(x, n) modulo m as powmod(x, n, m)", pow},
	"powmod":    {3, 3, "powmod(x, n, m): pow(x, n) % m, also where pow(x, n) is huge", powmod},
	"prime":     {1, 1, "prime(x): 1 or 0", prime},
	"reverse":   {2, 2, "reverse(x, n): the lowest n bits of x, n up to 64, the other way round", reverse},
	"sqrt":      {1, 1, "sqrt(x), rounded down", sqrt},
	"int8":      cut(8, true),
	"int16":     cut(16, true),
	"int32":     cut(32, true),
	"int64":     cut(64, true),
	"uint8":     cut(8, false),
	"uint16":    cut(16, false),
	"uint32":    cut(32, false),
	"uint64":    cut(64, false),
}

// functionNames are the names of functions, sorted.
func functionNames() []string { return slices.Sorted(maps.Keys(functions)) }

// cut is the conversion to an integer type of n bits.
func cut(n uint, signed bool) function {
	return function{1, 1, fmt.Sprintf("a conversion to %d bits takes one number", n), func(a []*big.Int) (*big.Int, error) {
		v := lowBits(a[0], n)
		if signed && v.Bit(int(n)-1) == 1 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), n))
		}
		return v, nil
	}}
}

// lowBits is v modulo 2^n.
func lowBits(v *big.Int, n uint) *big.Int {
	mask := new(big.Int).Lsh(big.NewInt(1), n)
	return mask.And(v, mask.Sub(mask, big.NewInt(1)))
}

func gcd(a []*big.Int) (*big.Int, error) {
	x, y := new(big.Int).Abs(a[0]), new(big.Int).Abs(a[1])
	return new(big.Int).GCD(nil, nil, x, y), nil
}

func lcm(a []*big.Int) (*big.Int, error) {
	d, _ := gcd(a)
	if d.Sign() == 0 {
		return d, nil
	}
	v := new(big.Int).Mul(a[0], a[1])
	return v.Abs(v).Quo(v, d), nil
}

// steps is a count of steps that is small enough to make them.
func steps(v *big.Int) (int64, error) {
	switch {
	case v.Sign() < 0:
		return 0, errNegative
	case !below(v, maxSteps):
		return 0, fmt.Errorf("%d is the most that is computed here: give the operand a smaller max", maxSteps)
	}
	return v.Int64(), nil
}

func factorial(a []*big.Int) (*big.Int, error) {
	n, err := steps(a[0])
	if err != nil {
		return nil, err
	}
	return new(big.Int).MulRange(1, n), nil
}

func fib(a []*big.Int) (*big.Int, error) {
	n, err := steps(a[0])
	if err != nil {
		return nil, err
	}
	x, y := new(big.Int), big.NewInt(1)
	for range n {
		x.Add(x, y)
		x, y = y, x
	}
	return x, nil
}

func popcount(a []*big.Int) (*big.Int, error) {
	if a[0].Sign() < 0 {
		return nil, errNegative
	}
	n := 0
	for _, w := range a[0].Bits() {
		n += bits.OnesCount(uint(w))
	}
	return big.NewInt(int64(n)), nil
}

func pow(a []*big.Int) (*big.Int, error) {
	x, n := a[0], a[1]
	switch {
	case n.Sign() < 0:
		return nil, errNegative
	case x.BitLen() <= 1: // 0, 1 and -1: only whether n is 0, odd or even counts
		n = new(big.Int).Add(lowBits(n, 1), new(big.Int).Lsh(truth(n.Sign() > 0), 1))
	case !below(n, maxBits) || int64(x.BitLen()-1)*n.Int64() > maxBits:
		return nil, fmt.Errorf("%w, or use powmod(x, n, m)", errLong)
	}
	return new(big.Int).Exp(x, n, nil), nil
}

func powmod(a []*big.Int) (*big.Int, error) {
	x, n, m := a[0], a[1], a[2]
	switch {
	case m.Sign() == 0:
		return nil, errZero
	case n.Sign() < 0 || m.Sign() < 0:
		return nil, errNegative
	case m.BitLen() > 65 || n.BitLen() > 64:
		return nil, fmt.Errorf("a modulus above 2^64 or an exponent from 2^64 on is not computed here")
	}
	return new(big.Int).Exp(x, n, m), nil
}

func prime(a []*big.Int) (*big.Int, error) {
	if a[0].BitLen() > 64 {
		return nil, fmt.Errorf("numbers from 2^64 on are not tested here")
	}
	return truth(a[0].Sign() > 0 && a[0].ProbablyPrime(0)), nil // exact below 2^64
}

func reverse(a []*big.Int) (*big.Int, error) {
	if !below(a[1], 64) {
		return nil, fmt.Errorf("at most 64 bits can be reversed")
	}
	n := uint(a[1].Uint64())
	v := bits.Reverse64(lowBits(a[0], n).Uint64()) >> (64 - n)
	return new(big.Int).SetUint64(v), nil
}

func sqrt(a []*big.Int) (*big.Int, error) {
	if a[0].Sign() < 0 {
		return nil, errNegative
	}
	return new(big.Int).Sqrt(a[0]), nil
}
