package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/pagewalk"
	"virtlab/harness/result"
)

// ModuleRun is one load of a module of anyone's in L2, and what it brought to light.
type ModuleRun struct {
	Dump // both logs, whole
	// Load is why it was not loaded and Unload why it cannot be unloaded. Both are the
	// module's fault: where L1 is to blame RunModule does not return.
	Load, Unload error
	// Ended says that L2 did not survive.
	Ended bool

	// Pair is the pair of walks that was compared with memory; Matrix is nil where there
	// was none.
	Pair   pagewalk.Pair
	Matrix *pagewalk.Matrix
	// Late says that memory was looked at only after the module was loaded: it prints no
	// walk before the hypercall.
	Late bool
}

const (
	// holdWalk is where KVM is told to keep a vCPU in hypercall 22 (hypercall22.c).
	holdWalk = "/sys/module/kvm/parameters/hypercall22_hold"
	// everyMessage brings all of a kernel's messages to its console, whatever their level.
	everyMessage = "/sys/module/printk/parameters/ignore_loglevel"

	maxHeld         = 8                // hypercalls of one load that are looked at
	consoleDelay    = time.Second      // for what L2 printed to arrive here
	unloadTime      = 10 * time.Second // for a module to go, and for a kernel to answer
	heldPoll        = 20 * time.Millisecond
	quotedOfGuest   = 8  // lines of the guest's console in a message
	quotedOfTrouble = 16 // lines of an oops
)

// RunModule loads a module, a file of the host, in L2. At each hypercall 22 it makes, L2 is
// kept in the hypercall; what it printed until then is compared with memory, while all that
// the module uses is still there. It may do anything to L2 and take no more than the
// deadline, in L1's own time.
func (l *Lab) RunModule(l1, l2 *guest.Guest, ko string, deadline time.Duration, params ...string) *ModuleRun {
	l.t.Helper()
	file := wire.ModuleDir + "/" + filepath.Base(ko)
	l.must(machine.Upload(l.Ctx, l2, ko, file))
	l.must(l2.WriteFile(l.Ctx, everyMessage, strings.NewReader("Y"), 0o644))
	guestLog, err := l2.Dmesg(l.Ctx)
	l.must(err)
	v := &visit{lab: l, l1: l1, l2: l2, guestLog: guestLog, hostLog: l.newDmesg(l1), printed: len(l2.Console().Text())}
	v.hold(1)

	ctx, cancel := GuestTimeout(l.Ctx, l1, deadline, fmt.Errorf("it is still being loaded after %s", deadline.Round(time.Second)))
	defer cancel()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		err = l2.Modprobe(ctx, file, params...)
	}()
	v.watch(ctx, loaded)
	v.hold(0)
	<-loaded
	v.finish(err, strings.TrimSuffix(filepath.Base(ko), ".ko"))
	l.Keep("gpt-dump.txt", v.run.GuestLog)
	l.Keep("ept-dump.txt", v.run.HostLog)
	return &v.run
}

// visit is a ModuleRun under way.
type visit struct {
	lab      *Lab
	l1, l2   *guest.Guest
	hostLog  func() string // what L1 has said since
	guestLog string        // what L2 had said before
	printed  int           // bytes on L2's console before
	run      ModuleRun
}

// hold makes KVM keep walks from a number on waiting; 0 lets all go.
func (v *visit) hold(from uint64) {
	v.lab.must(v.l1.WriteFile(v.lab.Ctx, holdWalk, strings.NewReader(strconv.FormatUint(from, 10)), 0o644))
}

// console is what L2 has printed since.
func (v *visit) console() string {
	text := v.l2.Console().Text()
	return text[min(v.printed, len(text)):]
}

// watch looks at each walk that waits until one is confirmed.
func (v *visit) watch(ctx context.Context, loaded <-chan struct{}) {
	for range maxHeld {
		number, held := v.awaitHeld(ctx, loaded)
		if !held {
			return
		}
		if v.look(); v.run.Matrix != nil && v.run.Matrix.Confirmed() {
			return
		}
		v.hold(number + 1)
	}
}

// reWaits is what hypercall22.c says of a walk that waits.
var reWaits = regexp.MustCompile(`hypercall 22: walk (\d{1,10}) waits`)

// awaitHeld waits until KVM holds a walk, and tells its number; false: there is no more.
func (v *visit) awaitHeld(ctx context.Context, loaded <-chan struct{}) (number uint64, held bool) {
	before := len(reWaits.FindAllString(v.run.HostLog, -1))
	for {
		select {
		case <-loaded:
			return 0, false
		case <-ctx.Done():
			return 0, false
		case <-time.After(heldPoll):
		}
		v.run.HostLog = v.hostLog()
		if waits := reWaits.FindAllStringSubmatch(v.run.HostLog, -1); len(waits) > before {
			number, err := strconv.ParseUint(waits[len(waits)-1][1], 10, 32)
			return number, err == nil
		}
	}
}

// look compares the pair of walks that was printed so far with memory, as soon as the
// guest's is whole.
func (v *visit) look() {
	for end := time.Now().Add(consoleDelay); time.Now().Before(end); time.Sleep(heldPoll) {
		pair, linked := bestPair(v.console(), v.run.HostLog)
		if linked && len(pagewalk.CheckWalk(pair.Guest).With(pagewalk.Gap)) == 0 {
			v.compare(pair)
			return
		}
	}
}

// compare looks at memory if the pair says where.
func (v *visit) compare(pair pagewalk.Pair) {
	_, noGuest := pagewalk.RootOf(pair.Guest)
	_, noHost := pagewalk.RootOf(pair.Host)
	if noGuest != nil || noHost != nil || !pair.Guest.Address.Seen || pair.Host.Kind == pagewalk.Shadow {
		return
	}
	matrix := v.lab.Witness(v.l1, pair)
	v.run.Pair, v.run.Matrix = pair, &matrix
}

func bestPair(guestLog, hostLog string) (pagewalk.Pair, bool) {
	g, _ := pagewalk.ParseGuest(guestLog)
	h, _ := pagewalk.ParseHost(hostLog)
	return pagewalk.Best(g.Guests(), h.Hosts())
}

// finish collects both logs, looks at memory where that has not been done, and unloads the
// module.
func (v *visit) finish(err error, module string) {
	v.run.HostLog = v.hostLog()
	v.run.Load = v.blame(err)
	v.run.GuestLog = v.console()
	if err != nil && !refused(err) {
		v.run.Ended = true
		return
	}
	ctx, cancel := GuestTimeout(v.lab.Ctx, v.l1, unloadTime, fmt.Errorf("no answer after %s", unloadTime))
	defer cancel()
	log, lost := v.l2.Dmesg(ctx)
	if lost != nil {
		v.run.Ended, v.run.Load = true, v.blame(lost)
		return
	}
	v.run.GuestLog = strings.TrimPrefix(log, v.guestLog)
	if v.run.Matrix == nil {
		if pair, linked := bestPair(v.run.GuestLog, v.run.HostLog); linked {
			v.run.Late = true
			v.compare(pair)
		}
	}
	if err == nil {
		v.run.Unload = v.unload(module)
	}
}

// refused says that loading ended with an answer of the kernel's.
func refused(err error) bool {
	var exit *machine.ExitError
	return errors.As(err, &exit)
}

// blame makes why a module was not loaded the submission's, with what L2 said, after it
// has seen that L1 is well: else it is the house's.
func (v *visit) blame(err error) error {
	var exit *machine.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return fmt.Errorf("L2's kernel does not load it: %s\n%s", exit.Stderr, v.lastWords())
	}
	v.askL1()
	owner := result.OwnerOf(err)
	switch trouble := v.l2.Console().Trouble(); {
	case len(trouble) > 0:
		return fmt.Errorf("L2's kernel gives up:\n%s", strings.Join(trouble[:min(len(trouble), quotedOfTrouble)], "\n"))
	case owner == result.Guest || owner == result.VMM:
		return fmt.Errorf("it ends L2: %w", err)
	}
	return fmt.Errorf("L2 hangs: %w; the last lines on its console were:\n%s", err, v.lastWords())
}

// askL1 demands a sign of life of L1.
func (v *visit) askL1() {
	v.lab.must(context.Cause(v.lab.Ctx))
	ctx, cancel := GuestTimeout(v.lab.Ctx, v.l1, unloadTime, fmt.Errorf("no answer after %s", unloadTime))
	defer cancel()
	_, err := machine.Run(ctx, v.l1, "uname")
	v.lab.must(err)
}

func (v *visit) lastWords() string {
	lines := strings.Split(strings.TrimSpace(v.console()), "\n")
	return strings.Join(lines[max(0, len(lines)-quotedOfGuest):], "\n")
}

func (v *visit) unload(module string) error {
	ctx, cancel := GuestTimeout(v.lab.Ctx, v.l1, unloadTime, fmt.Errorf("it is still being unloaded after %s", unloadTime))
	defer cancel()
	_, err := machine.Run(ctx, v.l2, "rmmod", module)
	if err == nil {
		return nil
	}
	v.askL1()
	v.run.Ended = !refused(err)
	return fmt.Errorf("it is loaded and cannot be unloaded again: %w\n%s", err, v.lastWords())
}
