package labs

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/gradetest"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
	"virtlab/harness/mtree"
	"virtlab/harness/pagewalk"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// Experiment 2: memory virtualization. A kernel module in L2 writes a number,
// prints how its address is translated (GVA to GPA) and makes hypercall 22; KVM
// in L1 prints how it is translated further (GPA to HPA, by EPT or NPT).

// courseValue is the number that the course's own module writes.
const courseValue = 1772334

// The course's experiment, on the kind of paging that its text shows.
func TestMemTranslation(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	l1 := lab.L1(harness.PagingLevels(4))
	lab.HostPages(l1, false)
	l2 := lab.L2(l1)

	t.Run("a drawn number", func(t *testing.T) {
		lab := lab.In(t)
		translate(t, lab, l1, l2, want{lab.Nonce(), 4, "4k", "4k"})
	})
	t.Run("the course's number", func(t *testing.T) {
		translate(t, lab.In(t), l1, l2, want{courseValue, 4, "4k", "4k"})
	})
	t.Run("in a large page of the guest", func(t *testing.T) {
		lab := lab.In(t)
		translate(t, lab, l1, l2, want{lab.Nonce(), 4, "2m", "4k"})
	})
	t.Run("odd addresses", func(t *testing.T) { oddAddresses(t, lab.In(t), l1, l2) })
	t.Run("unnoticed", func(t *testing.T) { unnoticed(t, lab.In(t), l1, l2) })
}

// Looking at L1's memory stops L1. L2 must not notice, however often: a QEMU that
// delivers L2 an interrupt twice then hangs it within a few commands.
func unnoticed(t *testing.T, lab *harness.Lab, l1, l2 *guest.Guest) {
	ctx, cancel := context.WithTimeout(lab.Ctx, 20*time.Second)
	defer cancel()
	lab.Interrupted(l1, func() {
		for range 10 {
			_, err := machine.Run(ctx, l2, "uname")
			require.NoError(t, err)
		}
	})
}

// The same where KVM maps the guest with large pages.
func TestMemLargePages(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	l1 := lab.L1(harness.PagingLevels(4))
	lab.HostPages(l1, true)
	l2 := lab.L2(l1)
	for _, guestLeaf := range []string{"4k", "2m"} {
		t.Run("guest="+guestLeaf, func(t *testing.T) {
			lab := lab.In(t)
			translate(t, lab, l1, l2, want{lab.Nonce(), 4, guestLeaf, "2m"})
		})
	}
}

// The same with five levels on either side.
func TestMemFiveLevels(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	l1 := lab.L1(harness.PagingLevels(5))
	if !lab.HasLA57(l1) {
		t.Skip("not graded: this CPU has no 5-level paging (LA57); use -accel tcg")
	}
	lab.HostPages(l1, false)
	l2 := lab.L2(l1)
	for _, guestLeaf := range []string{"4k", "2m"} {
		t.Run("guest="+guestLeaf, func(t *testing.T) {
			lab := lab.In(t)
			translate(t, lab, l1, l2, want{lab.Nonce(), 5, guestLeaf, "4k"})
		})
	}
}

type want struct {
	nonce               uint64
	levels              int
	guestLeaf, hostLeaf string
}

var leafLevel = map[string]int{"4k": 1, "2m": 2}

// translate is the experiment: load the module, read both logs, check their
// arithmetic, then look at L1's memory from the machine underneath.
func translate(t testing.TB, lab *harness.Lab, l1, l2 *guest.Guest, want want) {
	dump := lab.DumpWalk(l1, l2, fmt.Sprintf("nonce=%d", want.nonce), "leaf="+want.guestLeaf)
	pair := lab.Pair(dump)

	assert.NoError(t, pagewalk.CheckPair(pair).Err())
	assert.NoError(t, pagewalk.CheckNonce(pair, want.nonce).Err())
	assert.Equal(t, want.levels, pair.Guest.Levels, "levels of the guest's page table")
	assert.Equal(t, want.levels, pair.Host.Levels, "levels of the nested page table")
	assert.Equal(t, leafLevel[want.guestLeaf], pair.Guest.Leaf, "level of the guest's leaf")
	assert.Equal(t, leafLevel[want.hostLeaf], pair.Host.Leaf, "level of the host's leaf")

	matrix := lab.Witness(l1, pair)
	assert.NoError(t, matrix.Findings.Err())
	assert.True(t, matrix.Confirmed(), "the nonce lies in memory where both logs say\n%s", matrix.Table())
}

// BenchmarkMemTranslation is the experiment from nothing to checked: two boots,
// the module, both logs, and the look at L1's memory.
func BenchmarkMemTranslation(b *testing.B) {
	lab := harness.New(b)
	for b.Loop() {
		l1 := lab.L1(harness.PagingLevels(4))
		lab.HostPages(l1, false)
		translate(b, lab, l1, lab.L2(l1), want{lab.Nonce(), 4, "4k", "4k"})
		b.StopTimer()
		require.NoError(b, l1.Close())
		b.StartTimer()
	}
}

// Hypercall 22 survives any argument: it says what it finds and neither kernel
// is hurt.
func oddAddresses(t *testing.T, lab *harness.Lab, l1, l2 *guest.Guest) {
	for name, gpa := range map[string]string{
		"above the guest's memory": "0x40000000",
		"local APIC":               "0xfee00000",
		"beyond physical memory":   "0xffffffffffffffff",
		"crosses a page":           "0x1ffd",
	} {
		dump := lab.DumpWalk(l1, l2, "gpa="+gpa)
		log, err := pagewalk.ParseHost(dump.HostLog)
		if assert.NoError(t, err, "%s\n%s", name, dump.HostLog) {
			assert.Len(t, log.Hosts(), 1, name)
		}
	}
	assert.Empty(t, l1.Console().Trouble())
	assert.Empty(t, l2.Console().Trouble())
}

// QEMU's MemoryRegion tree.
func TestMemTree(t *testing.T) {
	t.Parallel()
	for _, machine := range []vmm.MachineType{vmm.PC, vmm.Q35} {
		t.Run(string(machine), func(t *testing.T) {
			t.Parallel()
			lab := harness.New(t)
			size := 128 + 64*lab.Rand.IntN(4)
			with := lab.BootHost("with-edu", harness.MachineType(machine), harness.MemoryMiB(size), harness.Device("edu"))
			tree := lab.MemoryTree(with)
			assert.NoError(t, tree.CheckRAM(uint64(size)<<20))
			assert.NoError(t, tree.CheckPCIHole())
			assert.NoError(t, tree.CheckEdu(true))
			assert.NotNil(t, tree.Space(mtree.SystemSpace))
		})
	}
	t.Run("without the device", func(t *testing.T) {
		t.Parallel()
		lab := harness.New(t)
		tree := lab.MemoryTree(lab.BootHost("without-edu", harness.MachineType(vmm.PC)))
		assert.NoError(t, tree.CheckEdu(false))
		assert.Error(t, tree.CheckEdu(true), "the check for the device fails where it is missing")
		assert.Error(t, tree.CheckRAM(1<<30), "and the check for RAM where its size is another")
	})
}

// The logs and modules as they are handed in: a student's, or the reference's.
func TestMemSubmission(t *testing.T) {
	t.Parallel()
	gradetest.Submission(t, result.Memory)
}

// Wrong logs, and wrong and hostile modules (fixtures/mutants/mem.toml).
func TestMemMutants(t *testing.T) {
	t.Parallel()
	gradetest.Mutants(t, result.Memory)
}
