//go:build linux && amd64

package trap

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/kvm"
)

// logOf makes the log of a guest that emits text and halts, with a nonce injected
// and the given output printed.
func logOf(text, nonce, stdout string) *Log {
	log := &Log{Port: kvm.SerialPort, Ending: Exited, Stdout: kvm.Bytes(stdout), Ioctls: []Ioctl{{Name: "KVM_RUN"}}}
	for i := range len(text) {
		if i < len(nonce) {
			log.Injected = append(log.Injected, Injection{Exit: i, Old: text[i], New: nonce[i]})
		}
		log.Exits = append(log.Exits, exitOf(kvm.Exit{Reason: kvm.ExitIO, IO: &kvm.IO{
			Direction: kvm.Out, Size: 1, Port: kvm.SerialPort, Count: 1, Data: kvm.Bytes{text[i]},
		}}))
	}
	log.Exits = append(log.Exits, exitOf(kvm.Exit{Reason: kvm.ExitHLT}))
	return log
}

func exitOf(exit kvm.Exit) Exit { return Exit{Exit: exit} }

func TestCheckText(t *testing.T) {
	for _, test := range []struct {
		name, stdout, stderr string
		message              string // empty: the check passes
	}{
		{"alone", "HELLO, WORLD!\n", "", ""},
		{"without line feed", "HELLO, WORLD!", "", ""},
		{"among other lines", "starting\nHELLO, WORLD!\nKVM_EXIT_HLT\n", "", ""},
		{"nothing", "", "", "got no output"},
		{"unchanged", "Hello, world!\n", "", "first difference at character 2: expected \"E\", got \"e\""},
		{"cut off", "HELLO, WOR", "", "first difference at character 11: \"LD!\" is missing"},
		{"after other lines", "KVM_EXIT_HLT\nHELLO WORLD!\n", "", "first difference at character 6: expected \",\", got \" \""},
		{"more on the line", "out: HELLO, WORLD!\n", "", "more stands on the same line"},
		{"on stderr", "", "HELLO, WORLD!\n", "it belongs on standard output"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &Log{Stdout: kvm.Bytes(test.stdout), Stderr: kvm.Bytes(test.stderr)}
			err := CheckText(log, helloUpper)
			if test.message == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.message)
		})
	}
}

func TestCheckGuest(t *testing.T) {
	for _, test := range []struct {
		name, text string
		message    string
	}{
		{"as it should be", hello, ""},
		{"changed", helloUpper, "the guest's code was changed"},
		{"longer", hello + "!", "the guest's code was changed"},
		{"cut off", hello[:5], "the guest was not run on\n  the last of 6 exits: KVM_EXIT_HLT"},
		{"nothing", "", "got nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CheckGuest(logOf(test.text, "", ""), hello)
			if test.message == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.message)
		})
	}
	assert.ErrorContains(t, CheckGuest(&Log{}, hello), "did not use /dev/kvm")
}

// TestParts is what the engine that grades asks of an error that compares.
func TestParts(t *testing.T) {
	err := CheckGuest(logOf(helloUpper, "", ""), hello)
	var m interface {
		Parts() (expected, got, difference string)
	}
	require.ErrorAs(t, err, &m)
	expected, got, difference := m.Parts()
	assert.Equal(t, `the guest to write "Hello, world!\n" to port 0x3f8`, expected)
	assert.Equal(t, `"HELLO, WORLD!\n"`, got)
	assert.Contains(t, difference, "changed")
}

// TestOtherTransforms looks for the guest's own text in what each transform makes
// of it.
func TestOtherTransforms(t *testing.T) {
	nonce := string(Nonce(rand.New(rand.NewPCG(1, 2)), len(hello)))
	for _, transform := range transforms {
		right := string(transform.Apply([]byte(nonce)))
		constant := string(transform.Apply([]byte(hello)))
		assert.NoError(t, CheckTransform(logOf(hello, nonce, right), transform), transform)
		assert.ErrorContains(t, CheckTransform(logOf(hello, nonce, constant), transform), "taken from somewhere else", transform)
		assert.ErrorContains(t, CheckTransform(logOf(hello, nonce, right+"\n"+constant), transform), "did not come out", transform)
	}
}

func TestCheckExits(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(log *Log)
		message string
	}{
		{"as it should be", func(*Log) {}, ""},
		{"no KVM", func(log *Log) { log.Exits, log.Ioctls = nil, nil }, "did not use /dev/kvm"},
		{"failing KVM_RUN", func(log *Log) {
			log.Exits = nil
			log.Ioctls = []Ioctl{{Name: "KVM_RUN", Errno: "EFAULT"}, {Name: "KVM_RUN", Errno: "EINTR"}}
		}, "KVM_RUN failed with EFAULT"},
		{"no halt", func(log *Log) { log.Exits = log.Exits[:len(hello)] }, "no KVM_EXIT_HLT"},
		{"early halt", func(log *Log) { log.Exits = append(log.Exits[:3:3], exitOf(kvm.Exit{Reason: kvm.ExitHLT})) },
			"got KVM_EXIT_HLT as exit 4"},
		{"other port", func(log *Log) { log.Exits[2].IO.Port = 0x80 }, "port 0x80, size 1, count 1, data 6c as exit 3"},
		{"two at once", func(log *Log) { log.Exits[2].IO.Count = 2 }, "count 2"},
		{"triple fault", func(log *Log) { log.Exits[len(hello)].Reason = kvm.ExitShutdown }, "KVM_EXIT_SHUTDOWN: triple fault"},
		{"again", func(log *Log) { log.Exits = append(log.Exits, log.Exits[0]) }, "entered again after it had halted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := logOf(hello, "", "")
			test.change(log)
			err := CheckExits(log, len(hello))
			if test.message == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.message)
		})
	}
}

func TestCheckTransform(t *testing.T) {
	const nonce = "aB3\xc4?zYx9\xff~kQ!"
	const upper = "AB3\xc4?ZYX9\xff~KQ!"
	for _, test := range []struct {
		name, text, nonce, stdout string
		message                   string
	}{
		{"plain", hello, "", helloUpper + "KVM_EXIT_HLT\n", ""},
		{"injected", hello, nonce, upper + "KVM_EXIT_HLT\n", ""},
		{"no line feed at its end", hello, nonce[:13], upper[:13] + "KVM_EXIT_HLT\n", ""},
		{"lines before", hello, nonce, "starting\n" + upper, ""},
		{"short text", "a\n", "", "A\nKVM_EXIT_HLT AGAIN\n", ""},
		{"no exit with text", "", "", helloUpper, "got none"},
		{"as trapped", hello, nonce, nonce, "the bytes were printed as they were trapped"},
		{"as trapped, guest changed", helloUpper, nonce, nonce, "the guest's code was changed"},
		{"constant", hello, nonce, helloUpper, "taken from somewhere else"},
		{"constant as well", hello, nonce, upper + helloUpper, "did not come out of the kvm_run page"},
		{"constant in other case as well", hello, nonce, "hello, world! " + upper, "did not come out of the kvm_run page"},
		{"twice", hello, nonce, upper + upper, "did not come out of the kvm_run page"},
		{"in pieces", hello, nonce, upper[:4] + "\n" + upper[4:], "first difference at character 5: expected \"?\", got \"\\n\""},
		{"one letter left", hello, nonce, "AB3\xc4?ZYx9\xff~KQ!", "this byte was printed as it was trapped"},
		{"high byte changed", hello, nonce, "AB3\xe4?ZYX9\xff~KQ!", "bytes above 0x7f"},
		{"ends early", hello, nonce, upper[:7], "first difference at character 8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CheckTransform(logOf(test.text, test.nonce, test.stdout), Upper)
			if test.message == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.message)
		})
	}
}

// TestLostOutput is about a program that waits for ever after its text, which is in
// a buffer still.
func TestLostOutput(t *testing.T) {
	log := logOf(hello, "", "")
	log.Ending, log.Detail = TimeLimit, "still running after 7s"
	assert.ErrorContains(t, CheckText(log, helloUpper), "still held in their buffer is lost")
	assert.ErrorContains(t, CheckTransform(log, Upper), "still held in their buffer is lost")
}

// TestMessagesAreShort feeds a flood to the checks that quote what a program or its
// guest wrote.
func TestMessagesAreShort(t *testing.T) {
	flood := strings.Repeat("no end ", 50_000)
	nonce := Nonce(rand.New(rand.NewPCG(1, 2)), len(hello))
	for _, err := range []error{
		CheckGuest(logOf(flood[:20_000], "", ""), hello),
		CheckText(&Log{Stdout: kvm.Bytes(flood)}, helloUpper),
		CheckEnd(&Log{Stderr: kvm.Bytes(flood)}),
		CheckTransform(logOf(hello, string(nonce), flood), Upper),
		CheckTransform(logOf(hello, string(nonce), string(Upper.Apply(nonce))+"\n"+flood+helloUpper), Upper),
	} {
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 1500, "%.100s", err)
	}
}

func TestCheckEnd(t *testing.T) {
	for _, test := range []struct {
		log     Log
		message string
	}{
		{Log{Ending: Exited}, ""},
		{Log{Ending: Exited, ExitStatus: 1, Exits: []Exit{exitOf(kvm.Exit{Reason: kvm.ExitHLT})}}, ""},
		{Log{Ending: Exited, ExitStatus: 3, Stderr: kvm.Bytes("one\ntwo\n")}, `exit status 3` + "\n  " + `its last line on stderr: "two"`},
		{Log{Ending: Exited, LeftBehind: 2}, "exit status 0, and 2 processes left behind"},
		{Log{Ending: Signaled, Signal: "SIGABRT"}, "death by SIGABRT"},
		{Log{Ending: TimeLimit, Detail: "still running after 1s"}, "time limit: still running after 1s; it had to be killed"},
		{Log{}, "had to be killed"},
	} {
		err := CheckEnd(&test.log)
		if test.message == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, test.message)
	}
}

// TestStrippedBitIsNamed draws many nonces, since the explanation depends on how
// the output is laid beside the expected text.
func TestStrippedBitIsNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		nonce := Nonce(rng, len(hello))
		stripped := Upper.Apply(nonce)
		for i := range stripped {
			stripped[i] &= 0x7f
		}
		log := logOf(hello, string(nonce), string(stripped)+"KVM_EXIT_HLT\n")
		require.ErrorContains(t, CheckTransform(log, Upper), "bytes above 0x7f")
	}
}

// FuzzChecks feeds the checks what a program may print: they must not panic, and a
// correct program must pass whatever the nonce is.
func FuzzChecks(f *testing.F) {
	f.Add([]byte(helloUpper), []byte("aB3"))
	f.Add([]byte("\x00\xff\n\n"), []byte("\n\n\n\n"))
	f.Fuzz(func(t *testing.T, stdout, nonce []byte) {
		if len(stdout) > 2000 || len(nonce) > len(hello) {
			t.Skip()
		}
		log := logOf(hello, string(nonce), string(stdout))
		for _, err := range []error{CheckText(log, helloUpper), CheckTransform(log, Rot13)} {
			if err != nil {
				require.NotEmpty(t, err.Error())
			}
		}
		if len(nonce) == len(hello) {
			log.Stdout = Swap.Apply(log.Trapped())
			if foreignText(log, Swap, nil, log.Stdout) == nil {
				require.NoError(t, CheckTransform(log, Swap))
			}
		}
	})
}
