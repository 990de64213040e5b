package class

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseShard(t *testing.T) {
	for text, want := range map[string]Shard{"1/1": {1, 1}, "2/4": {2, 4}, "12/12": {12, 12}} {
		got, err := ParseShard(text)
		assert.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, text, got.String())
	}
	for _, text := range []string{"", "2", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1/ 4"} {
		_, err := ParseShard(text)
		assert.Error(t, err, text)
	}
}

// Each name is in exactly one shard, and they are of about the same size.
func TestShardsPartition(t *testing.T) {
	for n := 1; n <= 16; n++ {
		sizes := make([]int, n)
		for k := range 1000 {
			in := 0
			for i := 1; i <= n; i++ {
				if (Shard{i, n}).Has(fmt.Sprintf("张三-52%04d", k)) {
					in++
					sizes[i-1]++
				}
			}
			assert.Equal(t, 1, in)
		}
		for _, s := range sizes {
			assert.InDelta(t, 1000/n, s, float64(1000/n)*0.4+5)
		}
	}
}

// The split is part of what shards agree on without a word: it must not change
// from one version to the next.
func TestShardsAreFixed(t *testing.T) {
	var got []int
	for _, name := range []string{"ada", "张三-520030910123", "x"} {
		for i := 1; i <= 5; i++ {
			if (Shard{i, 5}).Has(name) {
				got = append(got, i)
			}
		}
	}
	assert.Equal(t, []int{4, 4, 2}, got)
}
