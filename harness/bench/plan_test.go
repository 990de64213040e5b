package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// two are VMMs on one machine.
func two() []Contender {
	return []Contender{{VMM: "qemu-pc", On: "host"}, {VMM: "qemu-microvm", On: "host"}}
}

// many are contenders as on a host without KVM, some of them with reservations.
func many() []Contender {
	nested := func(c Contender) Contender {
		c.On, c.Label = "L1", Nested
		c.Without = map[Part]string{Instructions: "counted under TCG only", Debian: "too long"}
		return c
	}
	return append(two(),
		nested(Contender{VMM: "qemu-microvm"}), nested(Contender{VMM: "gokvm"}),
		nested(Contender{VMM: "stratovirt"}), nested(Contender{VMM: "firecracker", Missing: "not found"}))
}

func draw(t *testing.T, opts Options) Plan {
	t.Helper()
	p, err := Draw(opts)
	require.NoError(t, err)
	return p
}

func TestDrawIsTheSameForTheSameSeed(t *testing.T) {
	assert.Equal(t, draw(t, Options{Seed: 7, Contenders: many()}), draw(t, Options{Seed: 7, Contenders: many()}))
	assert.NotEqual(t, draw(t, Options{Seed: 7, Contenders: many()}).Runs, draw(t, Options{Seed: 8, Contenders: many()}).Runs)
}

// What a comparison lives by holds for all seeds.
func TestDrawIsBalanced(t *testing.T) {
	for _, mode := range []Mode{Quick, Default, Course} {
		for seed := range uint64(50) {
			p := draw(t, Options{Mode: mode, Seed: seed, Contenders: many(), Parts: Parts})
			checkOrder(t, p)
			for _, on := range p.Machines() {
				for _, part := range Parts {
					checkBlocks(t, p, on, part)
				}
			}
		}
	}
}

// checkOrder: numbered runs, one machine after the other, its warm-ups first, and
// blocks in their order.
func checkOrder(t *testing.T, p Plan) {
	t.Helper()
	var machines []string
	for i, r := range p.Runs {
		require.Equal(t, i, r.Index)
		require.Positive(t, r.Seconds)
		if !slices.Contains(machines, r.On) {
			machines = append(machines, r.On)
		} else {
			require.Equal(t, machines[len(machines)-1], r.On)
			require.GreaterOrEqual(t, r.Block, p.Runs[i-1].Block)
		}
	}
	assert.Equal(t, p.Machines(), machines)
}

// checkBlocks: in each block that has runs of the part, each able contender
// exactly once with all its cells, side by side, and at most one twin.
func checkBlocks(t *testing.T, p Plan, on string, part Part) {
	t.Helper()
	var able []string
	for _, c := range p.Contenders {
		if c.On == on && c.Missing == "" && c.Without[part] == "" {
			able = append(able, c.VMM)
		}
	}
	blocks := map[int][]Run{}
	for _, r := range p.Runs {
		if r.On == on && r.Part == part && r.Block >= 0 {
			blocks[r.Block] = append(blocks[r.Block], r)
		}
	}
	if len(able) == 0 {
		require.Empty(t, blocks)
		return
	}
	require.GreaterOrEqual(t, len(blocks), 2, "%s on %s", part, on)
	twins := map[string]int{}
	for _, runs := range blocks {
		var ran []string
		for i, r := range runs {
			require.Equal(t, runs[0].Index+i, r.Index, "nothing comes between")
			if r.Twin {
				twins[r.VMM]++
				require.Subset(t, p.Cells(part), r.Cells)
				continue
			}
			ran = append(ran, r.VMM)
			require.ElementsMatch(t, slices.DeleteFunc(p.Cells(part), func(c string) bool { return c == "" }), r.Cells)
		}
		require.ElementsMatch(t, able, ran)
	}
	if slices.Contains(untwinned, part) {
		require.Empty(t, twins)
		return
	}
	require.Equal(t, map[string]int{(&Data{Plan: p}).Twin(on, part): len(blocks)}, twins)
}

func TestDrawMixesTheOrder(t *testing.T) {
	first := map[string]int{}
	for seed := range uint64(200) {
		p := draw(t, Options{Seed: seed, Contenders: two(), Parts: []Part{Boot}, Boots: 2})
		for _, r := range p.Runs {
			if r.Block == 0 && !r.Twin {
				first[r.VMM]++
				break
			}
		}
	}
	// Of 200 fair draws 60 to 140 fall on one side but for one in 10^8.
	assert.InDelta(t, 100, first["qemu-pc"], 40, "%v", first)
	assert.Equal(t, 200, first["qemu-pc"]+first["qemu-microvm"])
}

// The times that the modes promise for two VMMs.
func TestModesTakeWhatTheySay(t *testing.T) {
	for mode, minutes := range map[Mode][2]float64{Quick: {1.5, 2.5}, Default: {6, 10}, Course: {22, 29}} {
		p := draw(t, Options{Mode: mode, Contenders: two()})
		assert.GreaterOrEqual(t, p.Seconds()/60, minutes[0], mode)
		assert.LessOrEqual(t, p.Seconds()/60, minutes[1], mode)
	}
}

func TestModes(t *testing.T) {
	course := draw(t, Options{Mode: Course, Contenders: two()})
	assert.Equal(t, 10*time.Second, course.CellTime)
	assert.Len(t, course.Cells(CPU), 5)
	assert.Len(t, course.Cells(RAM), 16, "both scopes")
	assert.Len(t, course.Cells(FileIO), 12)
	assert.Equal(t, []string{""}, course.Cells(Boot))
	assert.Equal(t, Parts, course.Parts())
	quick := draw(t, Options{Mode: Quick, Contenders: two()})
	assert.Equal(t, []Part{Boot, CPU, RAM, FileIO}, quick.Parts())
	assert.Equal(t, []string{"threads=1", "threads=4"}, quick.Cells(CPU))
	boots := func(p Plan) (n int) {
		for _, r := range p.Runs {
			if r.of("qemu-pc", "host", Boot) && !r.Twin && r.Block >= 0 {
				n++
			}
		}
		return n
	}
	assert.Equal(t, 6, boots(quick))
	assert.Equal(t, 10, boots(course))
	assert.Equal(t, 4, boots(draw(t, Options{Contenders: two(), Boots: 4})))
	slowBoots := two()
	for i := range slowBoots {
		slowBoots[i].Boot = 10 * time.Second
	}
	slow := draw(t, Options{Mode: Quick, Contenders: slowBoots})
	assert.Greater(t, slow.Seconds(), 3*quick.Seconds())
}

func TestDrawRefuses(t *testing.T) {
	for want, opts := range map[string]Options{
		"fast":             {Mode: "fast", Contenders: two()},
		"whole seconds":    {CellTime: 1500 * time.Millisecond, Contenders: two()},
		"a single value":   {Boots: 1, Contenders: two()},
		"1 samples":        {Samples: 1, Contenders: two()},
		"no part":          {Parts: []Part{"network"}, Contenders: two()},
		"there twice":      {Contenders: append(two(), two()...)},
		"nothing to":       {Contenders: []Contender{{VMM: "stratovirt", On: "L1", Missing: "not found"}}},
		"nothing to measu": {},
	} {
		_, err := Draw(opts)
		assert.ErrorContains(t, err, want)
	}
}
