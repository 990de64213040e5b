package grade

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/kvm"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/trap"
)

// seenOf is the log of a program whose guest writes a text and halts.
func seenOf(text, stdout string) *trap.Log {
	log := &trap.Log{Port: kvm.SerialPort, Ending: trap.Exited, Stdout: kvm.Bytes(stdout), Ioctls: []trap.Ioctl{{Name: "KVM_RUN"}}}
	for i := range len(text) {
		log.Exits = append(log.Exits, trap.Exit{Exit: kvm.Exit{Reason: kvm.ExitIO, IO: &kvm.IO{
			Direction: kvm.Out, Size: 1, Port: kvm.SerialPort, Count: 1, Data: kvm.Bytes{text[i]},
		}}})
	}
	log.Exits = append(log.Exits, trap.Exit{Exit: kvm.Exit{Reason: kvm.ExitHLT}})
	return log
}

func TestCPUChecksOfARun(t *testing.T) {
	g := &grading{opts: Options{Rubric: &result.Rubric{Transform: "swap"}}}
	with := func(change func(*trap.Log)) *trap.Log {
		log := seenOf(guestText, "hELLO, WORLD!\n")
		change(log)
		return log
	}
	for _, test := range []struct {
		name  string
		check func(*trap.Log, *result.Verdict) error
		log   *trap.Log
		says  string
	}{
		{"the rubric's transform", g.checkText, with(func(*trap.Log) {}), ""},
		{"another transform", g.checkText, seenOf(guestText, "HELLO, WORLD!\n"), `expected "h", got "H"`},
		{"another guest", g.checkText, seenOf("hELLO, WORLD!\n", "hELLO, WORLD!\n"), "the guest's code was changed"},
		{"no guest", g.checkText, &trap.Log{Ending: trap.Exited, Stdout: kvm.Bytes("hELLO, WORLD!\n")}, "did not use /dev/kvm"},
		{"exits", checkExits, with(func(*trap.Log) {}), ""},
		{"an exit too many", checkExits, seenOf(guestText+"!", ""), "as exit 15"},
		{"status 3 after the halt", checkEnd, with(func(l *trap.Log) { l.ExitStatus = 3 }), ""},
		{"status 3 before it", checkEnd, with(func(l *trap.Log) { l.Exits, l.ExitStatus = l.Exits[:4], 3 }), "exit status 3"},
		{"an end without a guest", checkEnd, &trap.Log{Ending: trap.Exited}, "did not use /dev/kvm"},
		{"no end, and no guest", checkEnd, &trap.Log{Ending: trap.TaskLimit}, "task limit"},
		{"some bytes only", g.checkTransform, seenOf(guestText[:3], "hEL"), "the guest was not run on"},
		{"bytes as trapped", g.checkTransform, with(func(l *trap.Log) { l.Stdout = kvm.Bytes(guestText) }), "printed as they were trapped"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := &result.Verdict{}
			err := test.check(test.log, v)
			if test.says == "" {
				require.NoError(t, err)
				assert.NotEmpty(t, v.Message, "what was seen")
				return
			}
			assert.ErrorContains(t, err, test.says)
			assert.Equal(t, result.Fail, outcomeOf(err))
		})
	}
}

func TestStatusIsAWarning(t *testing.T) {
	log := seenOf(guestText, "")
	log.ExitStatus = 3
	v := &result.Verdict{}
	require.NoError(t, checkEnd(log, v))
	require.Len(t, v.Warnings, 1)
	assert.Contains(t, v.Warnings[0], "status 3")
}

func TestSecondRunOfAnEndlessProgramIsShort(t *testing.T) {
	assert.Equal(t, shortLimit, secondLimit(&trap.Log{Ending: trap.TimeLimit}))
	assert.Equal(t, harness.WatchLimit, secondLimit(&trap.Log{Ending: trap.Exited}))
}

// TestWhoKilledTheMachine tells what a program did to L1 from what the host did.
func TestWhoKilledTheMachine(t *testing.T) {
	panicked := result.Errorf(result.Guest, "Kernel panic")
	crashed := result.Errorf(result.VMM, "QEMU was %w", &machine.ExitError{Status: -1, Signal: "segmentation fault"})
	killed := fmt.Errorf("L1: %w (%w)", result.Errorf(result.VMM, "QEMU was %w", &machine.ExitError{Status: -1, Signal: "killed"}), errors.New("EOF"))
	for _, test := range []struct {
		name          string
		run           vmmRun
		broke, killed bool
	}{
		{"a log", vmmRun{log: &trap.Log{Ending: trap.Exited}}, false, false},
		{"a program that cannot be killed", vmmRun{log: &trap.Log{Ending: trap.CannotBeKilled}}, true, false},
		{"a panic", vmmRun{err: panicked}, true, false},
		{"a VMM that crashed", vmmRun{err: crashed}, true, false},
		{"a VMM that was killed", vmmRun{err: killed}, true, true},
		{"an observer that failed", vmmRun{err: &machine.ExitError{Status: 1}}, false, false},
	} {
		assert.Equal(t, test.broke, brokeMachine(test.run), test.name)
		assert.Equal(t, test.killed, killedFromOutside(test.run.err), test.name)
	}
}
