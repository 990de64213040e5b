//go:build linux && amd64

package trap

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/kvm"
)

// The text of all guests here, and the upper case of it.
const (
	hello      = "Hello, world!\n"
	helloUpper = "HELLO, WORLD!\n"
)

// fixtures is where the lab's own programs are.
const fixtures = "../../fixtures"

// needKVM skips a test on a machine without a KVM that opens. How fast it is does
// not matter here.
func needKVM(t *testing.T) {
	t.Helper()
	device, err := kvm.Open(kvm.DefaultDevice)
	if err != nil {
		t.Skipf("this test runs a guest: %v", err)
	}
	device.Close()
}

// compile builds a C program and returns its path.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("this test compiles C: %v", err)
	}
	source, err = filepath.Abs(source)
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source}, flags...)
	output, err := exec.Command(gcc, args...).CombinedOutput()
	require.NoError(t, err, "gcc %v:\n%s", args, output)
	return program
}

// compileTest builds a program of testdata.
func compileTest(t *testing.T, name string) string {
	t.Helper()
	return compile(t, filepath.Join("testdata", name+".c"), "-static", "-pthread")
}

var rawFlags = []string{"-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"}

// watch runs a program and requires that the run itself worked.
func watch(t *testing.T, config Config) *Log {
	t.Helper()
	log, err := Run(t.Context(), config)
	require.NoError(t, err)
	return log
}

// patient is for programs that end by themselves, however busy the machine is;
// brief is for those that have to be stopped, after they have had time to print.
var (
	patient = Limit{Time: time.Minute}
	brief   = Limit{Time: 2 * time.Second}
)

func newNonce(t *testing.T, n int) []byte {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("nonce of seed %d", seed)
	return Nonce(rand.New(rand.NewPCG(seed, 0)), n)
}

// verdicts makes the checks of the CPU lab on a program, as package grade does,
// and returns the messages of those that failed.
func verdicts(t *testing.T, program string, limit Limit) map[string]string {
	t.Helper()
	plain := watch(t, Config{Argv: []string{program}, Limit: limit})
	injected := watch(t, Config{Argv: []string{program}, Limit: limit, Inject: newNonce(t, len(hello)-1)}) // the line still ends
	failed := map[string]string{}
	for check, err := range map[string]error{
		"text":      cmp.Or(CheckGuest(plain, hello), CheckText(plain, helloUpper)),
		"exits":     CheckExits(plain, len(hello)),
		"end":       CheckEnd(plain),
		"transform": CheckTransform(injected, Upper),
	} {
		if err != nil {
			failed[check] = err.Error()
		}
	}
	return failed
}

func TestSample(t *testing.T) {
	needKVM(t)
	program := compile(t, fixtures+"/cpu/sample-qemu.c", "-static")
	log := watch(t, Config{Argv: []string{program}})
	assert.NoError(t, CheckEnd(log))
	assert.NoError(t, CheckText(log, hello))
	assert.NoError(t, CheckText(log, "KVM_EXIT_HLT"))
	assert.NoError(t, CheckExits(log, len(hello)))
	assert.Equal(t, hello, string(log.Emitted()))
	assert.Equal(t, hello+"KVM_EXIT_HLT\n", string(log.Stdout))

	var names []string
	for _, ioctl := range log.Ioctls[:8] {
		names = append(names, fmt.Sprintf("%s %s", ioctl.Kind, ioctl.Name))
	}
	assert.Equal(t, []string{
		"system KVM_GET_API_VERSION", "system KVM_CREATE_VM", "vm KVM_SET_USER_MEMORY_REGION",
		"system KVM_GET_VCPU_MMAP_SIZE", "vm KVM_CREATE_VCPU",
		"vcpu KVM_GET_SREGS", "vcpu KVM_SET_SREGS", "vcpu KVM_SET_REGS",
	}, names)
	assert.EqualValues(t, kvm.APIVersion, log.Ioctls[0].Result)
	assert.Len(t, log.Ioctls, 8+len(hello)+1)
}

func TestReferencePasses(t *testing.T) {
	needKVM(t)
	for _, test := range []struct {
		name   string
		source string
		flags  []string
	}{
		{"static", fixtures + "/cpu/modified-qemu.c", []string{"-static"}},
		{"dynamic", fixtures + "/cpu/modified-qemu.c", nil},
		{"raw", "testdata/raw.c", rawFlags},
		{"thread", "testdata/thread.c", []string{"-static", "-pthread"}},
		{"thread dynamic", "testdata/thread.c", []string{"-pthread"}},
		{"kvm_run mapped twice", "testdata/twice.c", nil},
		{"children", "testdata/children.c", nil},
		{"exec in a thread", "testdata/thread-exec.c", []string{"-pthread"}},
		{"stops itself", "testdata/stops-itself.c", nil},
		{"clone3 falls back", "testdata/clone3.c", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := compile(t, test.source, test.flags...)
			assert.Empty(t, verdicts(t, program, patient))
		})
	}
}

// TestInt80 watches a 64-bit program that enters the kernel by the 32-bit table.
func TestInt80(t *testing.T) {
	needKVM(t)
	program := compile(t, "testdata/raw.c", append([]string{"-DINT80"}, rawFlags...)...)
	log := watch(t, Config{Argv: []string{program}})
	if log.ExitStatus == 77 || log.Signal == "SIGSEGV" {
		t.Skip("this kernel has no 32-bit system calls (CONFIG_IA32_EMULATION)")
	}
	assert.Empty(t, verdicts(t, program, patient))
}

// mutant is a case of fixtures/mutants/cpu.toml.
type mutant struct {
	Name    string
	What    string
	Hostile bool
	Files   map[string]string
	Fails   map[string]string // check, as "cpu.text": words of its message
}

// mutants are the wrong solutions that may run on this machine, and make use of it.
func mutants(t *testing.T) (harmless []mutant) {
	t.Helper()
	var list struct{ Case []mutant }
	_, err := toml.DecodeFile(fixtures+"/mutants/cpu.toml", &list)
	require.NoError(t, err)
	for _, m := range list.Case {
		if _, compiles := m.Fails["cpu.compiles"]; !m.Hostile && !compiles {
			harmless = append(harmless, m)
		}
	}
	require.NotEmpty(t, harmless)
	return harmless
}

func TestMutantsFail(t *testing.T) {
	needKVM(t)
	for _, mutant := range mutants(t) {
		t.Run(mutant.Name, func(t *testing.T) {
			t.Parallel() // the two that have to be stopped wait most of the time
			limit := patient
			if mutant.Fails["cpu.end"] != "" {
				limit = brief
			}
			program := compile(t, filepath.Join(fixtures, "mutants", mutant.Files["modified-qemu.c"]), "-static")
			failed := verdicts(t, program, limit)
			for check, message := range failed {
				t.Logf("%s: %s", check, message)
				assert.Contains(t, mutant.Fails, "cpu."+check, "%s; and yet: %s", mutant.What, message)
			}
			for check, words := range mutant.Fails {
				assert.Contains(t, failed[strings.TrimPrefix(check, "cpu.")], words, mutant.What)
			}
		})
	}
}

// TestOnlyTheTrapTells shows why the observer is there: these give the expected
// text and exits, and fail at the trap boundary alone.
func TestOnlyTheTrapTells(t *testing.T) {
	needKVM(t)
	for _, name := range []string{"constant", "reads-register", "seven-bits"} {
		t.Run(name, func(t *testing.T) {
			failed := verdicts(t, compile(t, filepath.Join(fixtures, "mutants/cpu", name+".c"), "-static"), patient)
			assert.Len(t, failed, 1)
			assert.Contains(t, failed, "transform")
		})
	}
}

func TestInjection(t *testing.T) {
	needKVM(t)
	program := compileTest(t, "twice")
	log := watch(t, Config{Argv: []string{program}, Inject: []byte("xyz")})
	assert.Equal(t, "XYZLO, WORLD!\n", string(log.Stdout), "bytes beyond the nonce stay")
	assert.Equal(t, []Injection{{0, 'H', 'x'}, {1, 'e', 'y'}, {2, 'l', 'z'}}, log.Injected)
	assert.Equal(t, hello, string(log.Emitted()))
	assert.Equal(t, "xyzlo, world!\n", string(log.Trapped()))
}

// TestStringOut watches a guest that uses a string instruction. The API allows one
// exit with a count for it; the KVMs tried here make one exit a byte.
func TestStringOut(t *testing.T) {
	needKVM(t)
	nonce := newNonce(t, len(hello))
	log := watch(t, Config{Argv: []string{compileTest(t, "string-out")}, Inject: nonce})
	assert.Equal(t, nonce, log.Trapped())
	assert.NoError(t, CheckTransform(log, Upper))
}

func TestEndings(t *testing.T) {
	needKVM(t)
	for _, test := range []struct {
		program string
		limit   Limit
		ending  Ending
		detail  string
		check   func(t *testing.T, log *Log)
	}{
		{"leaves-children", Limit{}, Exited, "", func(t *testing.T, log *Log) {
			assert.Equal(t, 2, log.LeftBehind)
			assert.Equal(t, helloUpper, string(log.Stdout))
		}},
		{"untraced", Limit{}, TriedToEscape, "CLONE_UNTRACED", func(t *testing.T, log *Log) {
			assert.NotContains(t, string(log.Stdout), "escaped")
			assert.ErrorContains(t, CheckEnd(log), "no tracer sees")
		}},
		{"forks-forever", Limit{Tasks: 20}, TaskLimit, "more than 20", nil},
		{"floods", Limit{Output: 5000}, OutputLimit, "5000 bytes on stdout", func(t *testing.T, log *Log) {
			assert.Len(t, log.Stdout, 5000)
		}},
		{"exits-forever", Limit{Exits: 30}, ExitLimit, "30 exits", func(t *testing.T, log *Log) {
			assert.Len(t, log.Exits, 30)
		}},
		{"exits-forever", Limit{Ioctls: 20}, IoctlLimit, "20 KVM ioctls", nil},
		{"closes-all", Limit{}, Exited, "", func(t *testing.T, log *Log) {
			assert.NoError(t, CheckEnd(log))
			assert.NoError(t, CheckExits(log, len(hello)))
			assert.ErrorContains(t, CheckText(log, helloUpper), "no output")
		}},
		{"crashes", Limit{}, Signaled, "", func(t *testing.T, log *Log) {
			assert.Equal(t, "SIGSEGV", log.Signal)
			assert.ErrorContains(t, CheckEnd(log), "death by SIGSEGV")
		}},
		{"interrupted", Limit{}, Exited, "", func(t *testing.T, log *Log) {
			require.NoError(t, CheckEnd(log))
			assert.Equal(t, "EINTR", log.Ioctls[len(log.Ioctls)-1].Errno)
			assert.Empty(t, log.Exits, "an interrupted KVM_RUN is no exit")
		}},
	} {
		t.Run(test.program, func(t *testing.T) {
			program := compileTest(t, test.program)
			log := watch(t, Config{Argv: []string{program}, Limit: test.limit})
			assert.Equal(t, test.ending, log.Ending, log.Detail)
			assert.Contains(t, log.Detail, test.detail)
			if test.check != nil {
				test.check(t, log)
			}
			assertGone(t, program)
		})
	}
}

// assertGone looks for processes of the program.
func assertGone(t *testing.T, program string) {
	t.Helper()
	executables, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	for _, executable := range executables {
		target, _ := os.Readlink(executable)
		assert.NotEqual(t, program, target, "%s is still alive", executable)
	}
}

func TestWithoutKVM(t *testing.T) {
	program := compileTest(t, "no-kvm")
	log := watch(t, Config{Argv: []string{program}, Stdin: []byte("a line of input\n"), Env: []string{"GREETING=good morning"}})
	assert.NoError(t, CheckEnd(log))
	assert.NoError(t, CheckText(log, helloUpper))
	assert.NoError(t, CheckText(log, "a line of input\ngood morning"))
	assert.ErrorContains(t, CheckExits(log, len(hello)), "did not use /dev/kvm")
	assert.ErrorContains(t, CheckTransform(log, Upper), "got none")
}

func TestContext(t *testing.T) {
	needKVM(t)
	program := compile(t, fixtures+"/mutants/cpu/guest-never-halts.c", "-static")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	log, err := Run(ctx, Config{Argv: []string{program}})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
	require.NotNil(t, log)
	assert.Equal(t, Cancelled, log.Ending)
	assert.Len(t, log.Exits, len(hello), "the log so far is kept")
	assertGone(t, program)
}

// TestCallersClock is about a time limit that the caller keeps.
func TestCallersClock(t *testing.T) {
	needKVM(t)
	program := compile(t, fixtures+"/mutants/cpu/guest-never-halts.c", "-static")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, ErrTimeLimit)
	defer cancel()
	log, err := Run(ctx, Config{Argv: []string{program}})
	require.NoError(t, err)
	assert.Equal(t, TimeLimit, log.Ending)
	assert.Contains(t, log.Detail, "still running after")
}

func TestCannotStart(t *testing.T) {
	_, err := Run(t.Context(), Config{})
	assert.ErrorContains(t, err, "no program given")
	_, err = Run(t.Context(), Config{Argv: []string{filepath.Join(t.TempDir(), "absent")}})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestClockIsKept watches many processes that are at their next stop whenever one
// has been served.
func TestClockIsKept(t *testing.T) {
	log := watch(t, Config{
		Argv:  []string{compile(t, fixtures+"/mutants/hostile/cpu/spins.c", "-static")},
		Limit: Limit{Time: time.Second},
	})
	assert.Equal(t, TimeLimit, log.Ending)
	assert.Less(t, log.Elapsed, 5*time.Second)
}

// TestOtherChildren runs programs by os/exec beside the tracer, whose waiting must
// not take them away.
func TestOtherChildren(t *testing.T) {
	program := compileTest(t, "no-kvm")
	done := make(chan error, 1)
	go func() {
		for range 40 {
			if err := exec.Command("true").Run(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 10 {
		assert.NoError(t, CheckEnd(watch(t, Config{Argv: []string{program}})))
	}
	assert.NoError(t, <-done)
}

// TestParallel runs several tracers at once, each on its own thread.
func TestParallel(t *testing.T) {
	needKVM(t)
	program := compileTest(t, "thread")
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			nonce := newNonce(t, len(hello))
			log := watch(t, Config{Argv: []string{program}, Inject: nonce})
			assert.NoError(t, CheckTransform(log, Upper))
			assert.Equal(t, Upper.Apply(nonce), []byte(log.Stdout))
		})
	}
}

// TestDiesWithTracer kills a process that traces, and expects its tracees dead.
func TestDiesWithTracer(t *testing.T) {
	needKVM(t)
	const role = "TRAP_TEST_TRACER_OF"
	if program := os.Getenv(role); program != "" {
		Run(context.Background(), Config{Argv: []string{program}})
		return
	}
	program := compile(t, fixtures+"/mutants/cpu/guest-never-halts.c", "-static")
	tracer := exec.Command(os.Args[0], "-test.run=^TestDiesWithTracer$")
	tracer.Env = append(os.Environ(), role+"="+program)
	require.NoError(t, tracer.Start())
	require.Eventually(t, func() bool { return alive(program) }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, tracer.Process.Kill())
	tracer.Wait()
	assert.Eventually(t, func() bool { return !alive(program) }, 5*time.Second, 5*time.Millisecond)
}

func alive(program string) bool {
	executables, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, executable := range executables {
		if target, _ := os.Readlink(executable); target == program {
			return true
		}
	}
	return false
}

func TestLogJSON(t *testing.T) {
	needKVM(t)
	log := watch(t, Config{Argv: []string{compileTest(t, "twice")}, Inject: []byte("\xff")})
	text, err := json.Marshal(log)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"reason":"KVM_EXIT_IO","io":{"direction":"out","size":1,"port":1016,"count":1,"data":[72]`)
	var again Log
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, *log, again)
}
