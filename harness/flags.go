// Package harness is the short vocabulary that the labs are written in: boot,
// load, run, look.
package harness

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"virtlab/harness/kvm"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
	"virtlab/harness/vmm"
)

var (
	accelFlag       = flag.String("accel", "auto", "how guest code runs: auto, tcg (emulated) or kvm (hardware)")
	seedFlag        = flag.Uint64("seed", 0, "seed of everything that is drawn; 0 draws one")
	submissionFlag  = flag.String("submission", "", "folder or zip with a student's files, which the labs are to grade; default: the reference solutions")
	unsandboxedFlag = flag.Bool("unsandboxed", false, "without a sandbox, on a student's own machine; what a submission does is then not contained")
)

// Main is TestMain of the labs: it prints once what was chosen and why, and
// fails at once where the assets are missing.
func Main(m *testing.M) int {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	overlap()
	gradeOnly()
	onceEach()
	sandbox.Unsandboxed = *unsandboxedFlag
	if err := Prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "virtlab:", err)
		return 1
	}
	accel, why := Accel()
	fmt.Printf("virtlab: accelerator %s: %s\nvirtlab: seed %d (repeat with -seed %d)\n", accel, why, Seed(), Seed())
	return m.Run()
}

// overlap lets twice as many tests run at once as there are CPUs, unless
// -parallel says otherwise: half of them wait for something.
func overlap() {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.NumCPU()))
	}
}

// gradeOnly leaves the tests of the house out where a submission is graded,
// unless -run says otherwise.
func gradeOnly() {
	if *submissionFlag != "" && flag.Lookup("test.run").Value.String() == "" {
		_ = flag.Set("test.run", "Submission$")
	}
}

// onceEach has each benchmark run once, unless -benchtime says otherwise: they
// bring their own repeats.
func onceEach() {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.benchtime" })
	if !set {
		_ = flag.Set("test.benchtime", "1x")
	}
}

// Prepare finds what the labs boot, and says what is missing. Programs that are
// not tests call it before anything else.
func Prepare() error {
	if *submissionFlag != "" {
		if _, err := os.Stat(*submissionFlag); err != nil {
			return result.Errorf(result.Submission, "-submission: %w", err).
				WithHint("give an absolute path: go test runs the labs in their own directory")
		}
	}
	if _, _, err := chooseAccel(); err != nil {
		return err
	}
	_, err := assets()
	return err
}

// Seed is the one seed of this run.
var Seed = sync.OnceValue(func() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return DrawSeed()
})

// DrawSeed draws a seed that is short enough to be typed again.
func DrawSeed() uint64 { return rand.Uint64N(1<<32) + 1 }

// SetSeed sets the seed of a run before anything is drawn; the flag -seed does
// the same for tests.
func SetSeed(seed uint64) { *seedFlag = seed }

// Accel is the accelerator for guests on the host, and why.
func Accel() (vmm.Accel, string) {
	a, why, _ := chooseAccel()
	return a, why
}

// KVMDevice is the device of the KVM API.
const KVMDevice = "/dev/kvm"

// chooseAccel probes KVM once, and by use: a device that opens may still
// interpret guest code, and the flags in cpuinfo say nothing about a guest's
// rights.
func chooseAccel() (vmm.Accel, string, error) {
	choice.once.Do(func() { choice.accel, choice.why, choice.err = probeAccel() })
	return choice.accel, choice.why, choice.err
}

var choice struct {
	once  sync.Once
	accel vmm.Accel
	why   string
	err   error
}

func probeAccel() (vmm.Accel, string, error) {
	switch *accelFlag {
	case "tcg":
		return vmm.TCG, "asked for by -accel", nil
	case "auto", "kvm":
	default:
		return "", "", result.Errorf(result.Host, "-accel %s: want auto, tcg or kvm", *accelFlag)
	}
	probe, err := kvm.Probe(KVMDevice)
	switch {
	case err == nil && probe.Usable:
		return vmm.KVM, probe.Reason, nil
	case *accelFlag == "kvm" && err != nil:
		return "", "", result.Errorf(result.Host, "-accel kvm: %w", err).WithHint("use -accel tcg, which needs no hardware")
	case *accelFlag == "kvm":
		return "", "", result.Errorf(result.Host, "-accel kvm: %s", probe.Reason).WithHint("use -accel tcg, which needs no hardware")
	case err != nil:
		return vmm.TCG, "no usable KVM: " + err.Error(), nil
	default:
		return vmm.TCG, "no usable KVM: " + probe.Reason, nil
	}
}

// SubmissionPath is the folder or zip that a student handed in, or "" where the
// reference is to be graded.
func SubmissionPath() string { return *submissionFlag }
