package trap

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Transform is what a lab's task asks to be done to each byte of the text. It
// changes ASCII letters only; bytes above 0x7f stay, as with C's toupper in the
// "C" locale.
type Transform struct {
	name   string
	change func(byte) byte
}

// The transforms that the course has asked for over the years, and two more.
var (
	Upper = Transform{"upper", upper}
	Lower = Transform{"lower", lower}
	Swap  = Transform{"swap", swap} // lower to upper and upper to lower
	Rot13 = Transform{"rot13", rot13}
)

var transforms = []Transform{Upper, Lower, Swap, Rot13}

// ParseTransform finds a transform by its name: upper, lower, swap or rot13.
func ParseTransform(name string) (Transform, error) {
	var names []string
	for _, transform := range transforms {
		if transform.name == name {
			return transform, nil
		}
		names = append(names, transform.name)
	}
	return Transform{}, fmt.Errorf("trap: no transform %q: want one of %s", name, strings.Join(names, ", "))
}

// String returns the name that ParseTransform takes.
func (t Transform) String() string { return t.name }

// Byte transforms one byte.
func (t Transform) Byte(b byte) byte { return t.change(b) }

// Apply returns the transformed text.
func (t Transform) Apply(text []byte) []byte {
	changed := make([]byte, len(text))
	for i, b := range text {
		changed[i] = t.change(b)
	}
	return changed
}

func isLower(b byte) bool  { return 'a' <= b && b <= 'z' }
func isUpper(b byte) bool  { return 'A' <= b && b <= 'Z' }
func isLetter(b byte) bool { return isLower(b) || isUpper(b) }

func upper(b byte) byte {
	if isLower(b) {
		return b - 'a' + 'A'
	}
	return b
}

func lower(b byte) byte {
	if isUpper(b) {
		return b - 'A' + 'a'
	}
	return b
}

func swap(b byte) byte {
	if isLower(b) {
		return upper(b)
	}
	return lower(b)
}

func rot13(b byte) byte {
	switch {
	case isLower(b):
		return 'a' + (b-'a'+13)%26
	case isUpper(b):
		return 'A' + (b-'A'+13)%26
	}
	return b
}

// nonceClasses are the kinds of bytes in a nonce. A NUL, a line feed and a
// carriage return are in none of them: they would end strings and lines. Lower case
// letters are of two classes, so that there are two different ones: no program that
// handles just one letter can be lucky. The comma is one because programs leave it
// out.
var nonceClasses = [...]func(rng *rand.Rand) byte{
	func(rng *rand.Rand) byte { return 'a' + byte(rng.IntN(13)) },
	func(rng *rand.Rand) byte { return 'n' + byte(rng.IntN(13)) },
	func(rng *rand.Rand) byte { return 'A' + byte(rng.IntN(26)) },
	func(rng *rand.Rand) byte { return '0' + byte(rng.IntN(10)) },
	func(rng *rand.Rand) byte { return 0x80 + byte(rng.IntN(0x80)) },
	func(rng *rand.Rand) byte {
		const punctuation = "!\"#$%&'()*+-./:;<=>?@[\\]^_`{|}~"
		return punctuation[rng.IntN(len(punctuation))]
	},
	func(*rand.Rand) byte { return ',' },
}

// Nonce draws n bytes to inject: lower and upper case letters, digits,
// punctuation and bytes above 0x7f, of each class at least one when n >= 7.
func Nonce(rng *rand.Rand, n int) []byte {
	nonce := make([]byte, n)
	for i := range nonce {
		class := i // each class once, then at random
		if i >= len(nonceClasses) {
			class = rng.IntN(len(nonceClasses))
		}
		nonce[i] = nonceClasses[class](rng)
	}
	rng.Shuffle(n, func(i, j int) { nonce[i], nonce[j] = nonce[j], nonce[i] })
	return nonce
}
