package trap

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTransforms(t *testing.T) {
	const text = "Hello, World! 123 @[`{ \x80\xe4\xff"
	for _, test := range []struct{ name, want string }{
		{"upper", "HELLO, WORLD! 123 @[`{ \x80\xe4\xff"},
		{"lower", "hello, world! 123 @[`{ \x80\xe4\xff"},
		{"swap", "hELLO, wORLD! 123 @[`{ \x80\xe4\xff"},
		{"rot13", "Uryyb, Jbeyq! 123 @[`{ \x80\xe4\xff"},
	} {
		transform, err := ParseTransform(test.name)
		require.NoError(t, err)
		assert.Equal(t, test.name, transform.String())
		assert.Equal(t, test.want, string(transform.Apply([]byte(text))))
	}
	_, err := ParseTransform("UPPER")
	assert.ErrorContains(t, err, "upper, lower, swap, rot13")
}

// TestUpperIsBytesToUpper compares with another implementation, on ASCII.
func TestUpperIsBytesToUpper(t *testing.T) {
	for b := range byte(0x80) {
		assert.Equal(t, bytes.ToUpper([]byte{b})[0], Upper.Byte(b))
		assert.Equal(t, bytes.ToLower([]byte{b})[0], Lower.Byte(b))
		assert.Equal(t, b, Rot13.Byte(Rot13.Byte(b)))
	}
}

func TestNonce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		nonce := Nonce(rng, n)
		require.Len(t, nonce, n)
		assert.NotContains(t, nonce, byte(0))
		assert.False(t, bytes.ContainsAny(nonce, "\n\r"))
		if n >= len(nonceClasses) {
			assert.True(t, bytes.ContainsFunc(nonce, func(r rune) bool { return 'a' <= r && r <= 'z' }), "%q", nonce)
			assert.NotEqual(t, nonce, Upper.Apply(nonce))
			assert.NotEqual(t, nonce, Lower.Apply(nonce))
			assert.True(t, bytes.ContainsAny(nonce, "0123456789"), "%q", nonce)
			assert.True(t, bytes.ContainsAny(nonce, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "%q", nonce)
			assert.False(t, bytes.Equal(nonce, bytes.Map(func(r rune) rune { return r & 0x7f }, nonce)), "%q has no byte above 0x7f", nonce)
		}
	}
	assert.Equal(t, Nonce(rand.New(rand.NewPCG(7, 0)), 14), Nonce(rand.New(rand.NewPCG(7, 0)), 14), "a seed replays")
}
