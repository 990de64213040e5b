package grade

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"virtlab/harness"
	"virtlab/harness/edu"
	"virtlab/harness/result"
)

// ioDifference is an answer that is not the right one.
type ioDifference struct {
	about         string
	expected, got string
	why           string // more about it; may be empty
}

func (d *ioDifference) Error() string {
	s := fmt.Sprintf("%s: expected %s, got %s", d.about, d.expected, d.got)
	if d.why != "" {
		s += "; " + d.why
	}
	return s
}

// Parts are those of a message that compares.
func (d *ioDifference) Parts() (expected, got, difference string) {
	return d.expected, d.got, d.about
}

// checkFunction asks for a function of the student's own: the one that
// edu-op.json declares, or, without that, any.
func (w *ioWork) checkFunction(_ *harness.Lab, v *result.Verdict) error {
	switch {
	case w.device.err != nil:
		return w.device.missing()
	case w.his.boot != nil:
		return w.blame(w.his.boot)
	case w.stock.boot != nil:
		return w.stock.boot // ours: what the student's device is compared with
	}
	v.Evidence = append(v.Evidence, w.his.evidence...)
	if w.op == nil {
		return w.checkEvidence(v)
	}
	if err := w.blame(w.judgeDevice()); err != nil {
		return err
	}
	if err := w.blame(w.judgeDriver(v)); err != nil {
		return err
	}
	v.Message = fmt.Sprintf("%s: %d drawn operands are right past the driver, %d through it; the first: %s", w.op.Name, len(w.asks), len(w.his.paths), w.op.Describe(w.asks[0]))
	return nil
}

// judgeDevice compares what the device answers past any driver.
func (w *ioWork) judgeDevice() error {
	var wrong []error
	same := 0 // answers that the stock device gives as well
	for i, operands := range w.asks {
		expected, err := w.op.Expect(operands)
		if err != nil {
			return result.Errorf(result.Submission, "edu-op.json: for %s: %w", w.op.Describe(operands), err)
		}
		if err := w.judgeAnswer(i, expected); err != nil {
			wrong = append(wrong, err)
		}
		if i < len(w.stock.heard) && !w.stock.heard[i].Late && w.op.Answered(w.stock.heard[i]) == expected {
			same++
		}
	}
	switch {
	case len(wrong) > 0: // the operands come in order of their size
		return fmt.Errorf("past the driver %w (%d of %d operands are wrong, these are the smallest)", wrong[0], len(wrong), len(w.asks))
	case same == len(w.asks) && !w.op.PrintsOutside():
		return result.Errorf(result.Submission, "QEMU's own device gives the same answers at these registers: that is no function of your own")
	}
	return nil
}

// judgeAnswer judges the device's answer to the operands with index i.
func (w *ioWork) judgeAnswer(i int, expected string) error {
	d := &ioDifference{about: w.op.Name + " of " + w.op.Describe(w.asks[i]), expected: expected}
	switch {
	case w.op.PrintsOutside():
		return w.judgePrinted(d, 1)
	case i >= len(w.his.heard):
		if w.his.barred == nil {
			d.got = "no answer"
			return d
		}
		return fmt.Errorf("the device did not answer to %s: %w", w.op.Describe(w.asks[i]), w.his.barred)
	}
	if d.got = w.op.Answered(w.his.heard[i]); d.got != expected {
		if w.op.Result != nil && w.his.heard[i].Reads[0] == edu.Absent {
			d.why = fmt.Sprintf("that is all ones, as where there is no register: is there one at %s?", w.op.Result.Offset.Hex())
		}
		return d
	}
	return nil
}

// judgePrinted asks for a line on QEMU's own output, as often as it was asked for.
func (w *ioWork) judgePrinted(d *ioDifference, times int) error {
	n := 0
	for line := range strings.Lines(w.his.said) {
		// The guest's console, on the same output, may stand before it.
		if strings.HasSuffix(strings.TrimRight(line, "\r\n"), d.expected) {
			n++
		}
	}
	if n >= times {
		return nil
	}
	d.expected, d.got = fmt.Sprintf("the line %q on QEMU's output", d.expected), "none"
	if n > 0 {
		d.got = fmt.Sprintf("it %d times, where it was asked for %d times", n, times)
	}
	return d
}

// judgeDriver compares what comes through the student's driver and test program,
// and finds out one that gives the answer by itself.
func (w *ioWork) judgeDriver(v *result.Verdict) error {
	switch {
	case w.op.Driver == nil:
		v.Warnings = append(v.Warnings, "edu-op.json says nothing about how your test program takes operands, so the function was not tried through your driver")
		return nil
	case w.driver.err != nil || w.test.err != nil:
		v.Warnings = append(v.Warnings, "the function was not tried through your driver: there is no driver or no test program that builds")
		return nil
	case w.his.loaded != nil:
		v.Warnings = append(v.Warnings, "the function was not tried through your driver, which does not load")
		return nil
	}
	for _, p := range w.his.paths {
		if err := w.judgePath(p); err != nil {
			return fmt.Errorf("the device is right, but through the driver %w", err)
		}
	}
	if w.fakes() {
		return w.faked()
	}
	return nil
}

func (w *ioWork) judgePath(p pathAnswer) error {
	d := &ioDifference{about: w.op.Name + " of " + w.op.Describe(p.operands)}
	var err error
	if d.expected, err = w.op.Expect(p.operands); err == nil {
		err = p.err
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s cannot be seen: %w", d.about, err)
	case w.op.PrintsOutside():
		return w.judgePrinted(d, 2)
	}
	if d.got = p.got; d.got != d.expected {
		return d
	}
	return nil
}

// fakes tells whether the driver gives the right answers where the device has no
// such function. Answers that say nothing (all ones, as from a register that is
// not there) do not count.
func (w *ioWork) fakes() bool {
	telling := 0
	for _, p := range w.stock.paths {
		expected, err := w.op.Expect(p.operands)
		if err != nil || p.err != nil || p.got != expected {
			return false
		}
		if w.op.Text != nil || expected != fmt.Sprint(uint64(edu.Absent)) {
			telling++
		}
	}
	return telling > 0 && len(w.stock.heard) > 0 && !w.op.PrintsOutside()
}

func (w *ioWork) faked() error {
	seen := "its registers were written meanwhile"
	if !slices.ContainsFunc(w.op.Operands, func(x edu.Operand) bool { return slices.Contains(w.stock.trace.Added(), uint64(x.Offset)) }) {
		seen = "the device's side of the bus shows no access to its registers"
	}
	p := w.stock.paths[len(w.stock.paths)-1]
	return result.Errorf(result.Submission, "driver and test program give the right answers on QEMU's own device, which has no such function "+
		"(%s: %s; %s): they are not the device's", w.op.Describe(p.operands), p.got, seen)
}

// checkEvidence looks for a function without knowing it: something of the device
// has to differ from the stock device, and to show in the student's log. That is
// worth half the points.
func (w *ioWork) checkEvidence(v *result.Verdict) error {
	v.Warnings = append(v.Warnings, fmt.Sprintf("%v, so the function was not asked for its answers", w.opProblem))
	device := w.deviceDiffers()
	if len(device) == 0 {
		return result.Errorf(result.Submission, "nothing tells your device from QEMU's own: no register answers that the stock device lacks "+
			"(looked at up to 0x%x), and QEMU prints nothing more. Say in edu-op.json where your function is (docs/edu-op.md)", edu.SurveySize)
	}
	if w.driver.err != nil || w.test.err != nil {
		return notGraded("your device differs from QEMU's own (" + some(device) + "), but without a driver and a test program that build there is no log " +
			"to show it, and no edu-op.json to ask it by (docs/edu-op.md)")
	}
	shown := w.logDiffers()
	if len(shown) == 0 {
		return result.Errorf(result.Submission, "your device differs from QEMU's own (%s), but the log of your test program is the same on both: have it use the function "+
			"and print what comes, or hand in edu-op.json (docs/edu-op.md)", some(device))
	}
	v.Points = v.Max / 2
	v.Message = fmt.Sprintf("half the points: your device differs from QEMU's own (%s), and so does the log of your test program (%s); "+
		"whether the answers are right was not checked. For all points hand in edu-op.json, which says what the function is (docs/edu-op.md)", some(device), some(shown))
	return nil
}

// some are the first of all, in words.
func some(all []string) string {
	const most = 3
	if len(all) > most {
		return strings.Join(all[:most], "; ") + fmt.Sprintf("; and %d more", len(all)-most)
	}
	return strings.Join(all, "; ")
}

// deviceDiffers is what tells the student's device from the stock one: registers,
// those first that his driver uses, and what QEMU prints.
func (w *ioWork) deviceDiffers() (all []string) {
	diffs := edu.Differences(w.survey, w.stock.survey, w.his.survey)
	used := w.stock.trace.Added()
	slices.SortStableFunc(diffs, func(a, b edu.Difference) int {
		return rank(slices.Contains(used, a.Offset)) - rank(slices.Contains(used, b.Offset))
	})
	for _, d := range diffs {
		text := d.String()
		if slices.Contains(used, d.Offset) {
			text += ", and your driver uses it"
		}
		all = append(all, text)
	}
	for _, line := range moreLines(w.his.said, w.stock.said, w.his.test.dmesg+w.stock.test.dmesg) {
		all = append(all, fmt.Sprintf("QEMU prints %q", clipped(line)))
	}
	return all
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// logDiffers are lines of the test program's log, or of what QEMU prints
// meanwhile, that come with the student's device and not with the stock one.
func (w *ioWork) logDiffers() (all []string) {
	for _, line := range slices.Concat(moreLines(w.his.test.stdout, w.stock.test.stdout), moreLines(w.his.test.dmesg, w.stock.test.dmesg),
		moreLines(w.his.said, w.stock.said, w.his.test.dmesg+w.stock.test.dmesg)) {
		all = append(all, fmt.Sprintf("%q", clipped(line)))
	}
	return all
}

// moreLines are the lines of text that the others do not have as often, without
// time stamps.
func moreLines(text string, others ...string) (more []string) {
	count := map[string]int{}
	for _, other := range others {
		for line := range strings.Lines(other) {
			count[bare(line)]++
		}
	}
	for line := range strings.Lines(text) {
		line = bare(line)
		if count[line]--; count[line] < 0 && line != "" {
			more = append(more, line)
		}
	}
	return more
}

var timeStamp = regexp.MustCompile(`^(?:<\d+>)?\[ *\d+\.\d+\] ?`)

func bare(line string) string { return timeStamp.ReplaceAllString(strings.TrimSpace(line), "") }

func clipped(s string) string {
	if len(s) > 120 {
		return s[:120] + "..."
	}
	return s
}
