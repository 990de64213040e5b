package stat

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
)

// noise draws what two equal sides measure in n blocks, in seconds.
type noise func(rng *rand.Rand, n int) (a, b []bench.Point)

// each makes noise from what one run of a block measures.
func each(value func(rng *rand.Rand, block, n int) float64) noise {
	return func(rng *rand.Rand, n int) (a, b []bench.Point) {
		for block := range n {
			a = append(a, bench.Point{Block: block, Value: value(rng, block, n)})
			b = append(b, bench.Point{Block: block, Value: value(rng, block, n)})
		}
		return a, b
	}
}

// quiet is a machine with nothing else to do.
var quiet = each(func(rng *rand.Rand, _, _ int) float64 { return 0.6 * jitter(rng, 0.03) })

// drifting is a machine that becomes slower by a third: it warms up, or a
// neighbour does.
var drifting = each(func(rng *rand.Rand, block, n int) float64 {
	return 0.6 * (1 + float64(block)/float64(3*n)) * jitter(rng, 0.02)
})

// stalling is a machine whose processor is taken away for seconds now and then.
var stalling = each(func(rng *rand.Rand, _, _ int) float64 {
	v := 0.6 * jitter(rng, 0.02)
	if rng.Float64() < 0.08 {
		v += 1 + 2*rng.Float64()
	}
	return v
})

func jitter(rng *rand.Rand, sd float64) float64 { return math.Exp(sd * rng.NormFloat64()) }

// recorded replays n blocks in a row of boots of one VMM, recorded twice in each
// block; which of the two is whose is drawn.
func recorded(t *testing.T, file, metric string) noise {
	blocks := readBoots(t, file, metric)
	return func(rng *rand.Rand, n int) (a, b []bench.Point) {
		start := rng.IntN(len(blocks) - n + 1)
		for i, v := range blocks[start : start+n] {
			k := rng.IntN(2)
			a = append(a, bench.Point{Block: i, Value: v[k]})
			b = append(b, bench.Point{Block: i, Value: v[1-k]})
		}
		return a, b
	}
}

// readBoots reads what the two boots of qemu-microvm measured in each block.
func readBoots(t *testing.T, file, metric string) (blocks [][]float64) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, row := range rows[1:] {
		block, err := strconv.Atoi(row[column["block"]])
		require.NoError(t, err)
		if block == len(blocks) {
			blocks = append(blocks, nil)
		}
		if row[column["vmm"]] != "microvm" {
			continue
		}
		v, err := strconv.ParseFloat(row[column[metric]], 64)
		require.NoError(t, err)
		blocks[block] = append(blocks[block], v)
	}
	return blocks
}
