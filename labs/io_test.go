package labs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/edu"
	"virtlab/harness/gradetest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// Experiment 3: I/O virtualization. A driver and a test program use QEMU's edu
// device: factorial, interrupt, DMA. Then the device gets a function of one's
// own and QEMU is rebuilt.

// The device as QEMU has it, with either kind of interrupt.
func TestIODevice(t *testing.T) {
	t.Parallel()
	for name, params := range map[string][]string{"msi": nil, "intx": {"intx=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := harness.New(t)
			guest := lab.EduGuest(harness.Assets().QEMU, params...)

			assert.NoError(t, edu.CheckEdu(guest.PCI()))
			assert.Positive(t, guest.Major())
			info := guest.MustTest("info")
			assert.Equal(t, []string{name}, info["irq_kind"])

			var (
				live = lab.Rand.Uint32()
				n    = 1 + lab.Rand.Uint32N(12)  // fits 32 bits
				wrap = 13 + lab.Rand.Uint32N(12) // does not: the register wraps
				bits = 1 + lab.Rand.Uint32N(0x7f)<<1
			)
			seed, size := edu.DrawDMA(lab.Rand)
			got := guest.MustTest("id", "live", live, "fact", n, "fact", wrap, "fact", 10, "factpoll", n, "irq", bits, "dma", seed, size)
			assert.Equal(t, uint32(edu.Identification), guest.Number(got, "id"), "identification")
			assert.Equal(t, ^live, guest.Number(got, "live"), "liveness answers the complement")
			assert.Equal(t, edu.Factorial32(n), guest.Number(got, "factpoll"))
			assert.Equal(t, uint32(0x375f00), guest.Number(got, "fact"), "10!, the last that was asked for")
			assert.Equal(t, bits, guest.Number(got, "irq_status"), "the handler saw the raised bits")
			assert.Equal(t, harness.Checksum(edu.Pattern(seed, size)), guest.Number(got, "dma_sum"), "what went to the device came back")
			_, err := guest.Test("fn", bits, live)
			assert.ErrorContains(t, err, "it has no function there", "the one that TestIOFunction adds")

			trace := guest.Trace()
			assert.Error(t, trace.ConfirmFunction(bits, live, edu.GCD(bits, live)))
			assert.NoError(t, trace.ConfirmID(edu.Identification))
			assert.NoError(t, trace.ConfirmLive(live, ^live))
			for _, n := range []uint32{n, wrap, 10} {
				assert.NoError(t, trace.ConfirmFactorial(n, edu.Factorial32(n)))
			}
			assert.NoError(t, trace.ConfirmInterrupt(bits))
			assert.NoError(t, trace.ConfirmIRQ(edu.IRQFactorial))
			assert.NoError(t, trace.ConfirmIRQ(edu.IRQDMA))
			for _, fromDevice := range []bool{false, true} {
				assert.NoError(t, trace.ConfirmDMA(fromDevice, uint64(size), guest.Buffer(info)))
			}
		})
	}
}

// The device with a function more, the greatest common divisor of two
// registers: QEMU was rebuilt with it.
func TestIOFunction(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	guest := lab.EduGuest(harness.Assets().QEMUReference)
	type call struct{ a, b, result uint32 }
	var calls []call
	for range 5 {
		common := 1 + lab.Rand.Uint32N(1000)
		a, b := common*(1+lab.Rand.Uint32N(1000)), common*(1+lab.Rand.Uint32N(1000))
		got := guest.Number(guest.MustTest("fn", a, b), "fn")
		assert.Equal(t, edu.GCD(a, b), got, "gcd(%d, %d)", a, b)
		calls = append(calls, call{a, b, got})
	}
	assert.Equal(t, uint32(0x375f00), guest.Number(guest.MustTest("fact", 10), "fact"), "the stock functions still work")
	trace := guest.Trace()
	for _, c := range calls {
		assert.NoError(t, trace.ConfirmFunction(c.a, c.b, c.result))
	}
}

// Wrong drivers, each told by the device's side of the bus.
func TestIODriverMutants(t *testing.T) {
	t.Parallel()
	for _, mutant := range harness.New(t).Mutants("io") {
		t.Run(mutant.Name, func(t *testing.T) {
			t.Parallel()
			lab := harness.New(t)
			guest := lab.EduGuestWith(mutant.Name, harness.Assets().QEMU)
			const n, bits, size = 7, 0x54, 100
			info := guest.MustTest("info")
			_, _ = guest.Test("fact", n, "irq", bits, "dma", lab.Rand.Uint32(), size) // what it claims does not matter
			trace := guest.Trace()
			failures := map[string]error{
				"factorial": trace.ConfirmFactorial(n, edu.Factorial32(n)),
				"interrupt": trace.ConfirmInterrupt(bits),
				"dma":       trace.ConfirmDMA(false, size, guest.Buffer(info)),
			}
			assert.ErrorContains(t, failures[mutant.Check], mutant.Reason, "%s", mutant.What)
			for check, err := range failures {
				if check != mutant.Check {
					assert.NoError(t, err, "the rest is right")
				}
			}
		})
	}
}

// A driver that sleeps, as the course's does for 6 s in all, costs nothing when
// guest time follows executed instructions.
func TestIOSleepsAreFree(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	if accel, _ := harness.Accel(); accel != vmm.TCG {
		t.Skip("not graded: only emulation can count instructions")
	}
	guest := lab.BootHost("sleeper", harness.FreeSleep())
	start := time.Now()
	_, err := machine.Run(lab.Ctx, guest, "sleep", "60")
	require.NoError(t, err)
	assert.Less(t, time.Since(start), 30*time.Second)
}

// The device, driver and test program as they are handed in: a student's, or the
// reference's.
func TestIOSubmission(t *testing.T) {
	t.Parallel()
	gradetest.Submission(t, result.IO)
}

// Wrong and hostile ones (fixtures/mutants/io.toml).
func TestIOMutants(t *testing.T) {
	t.Parallel()
	gradetest.Mutants(t, result.IO)
}
