//go:build linux && amd64

package trap

import (
	"bytes"
	"fmt"
	"strings"

	"virtlab/harness/kvm"
)

// Mismatch is a failed check: what was expected, what came and why it matters,
// in words for the author of the program.
type Mismatch struct {
	Check    string // "guest", "end", "text", "exits" or "transform"
	Expected string
	Got      string
	Why      string // the first difference and its likely cause
}

// Error writes the mismatch over a few lines.
func (m *Mismatch) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: expected %s\n  got %s", m.Check, m.Expected, m.Got)
	if m.Why != "" {
		fmt.Fprintf(&text, "\n  %s", m.Why)
	}
	return text.String()
}

// Parts are what was expected, what came, and the first difference with its
// likely cause.
func (m *Mismatch) Parts() (expected, got, difference string) { return m.Expected, m.Got, m.Why }

// CheckGuest asks that the guest wrote a text, byte by byte: that it is the lab's
// own guest still, and was run to the end of its text.
func CheckGuest(log *Log, text string) error {
	emitted := string(log.Emitted())
	if emitted == text {
		return nil
	}
	m := &Mismatch{
		Check:    "guest",
		Expected: fmt.Sprintf("the guest to write %q to port %#x", text, log.Port),
		Got:      clip([]byte(emitted)),
	}
	switch {
	case emitted == "":
		m.Got = "nothing"
		m.Why = joinReasons(unused(log), lastFailure(log), lastWords(log))
	case strings.HasPrefix(text, emitted):
		m.Why = joinReasons("the guest was not run on", lastFailure(log), lastWords(log))
	default:
		m.Why = "the guest's code was changed: it has to stay as it is, the task is to change what the VMM does with each byte"
	}
	return m
}

// unused notices a program without a VMM.
func unused(log *Log) string {
	if len(log.Ioctls) == 0 {
		return "no KVM ioctl at all: the program did not use /dev/kvm"
	}
	return ""
}

// CheckEnd asks that the program and all that it started ended by itself: with
// status 0, or with any once its guest had halted.
func CheckEnd(log *Log) error {
	if log.Ending == Exited && log.LeftBehind == 0 && (log.ExitStatus == 0 || log.halted()) {
		return nil
	}
	return &Mismatch{
		Check:    "end",
		Expected: "the program to end by itself once its guest has halted",
		Got:      describeEnd(log),
		Why:      lastWords(log),
	}
}

func describeEnd(log *Log) string {
	switch {
	case log.Ending == Exited && log.LeftBehind > 0:
		return fmt.Sprintf("exit status %d, and %d processes left behind; they had to be killed", log.ExitStatus, log.LeftBehind)
	case log.Ending == Exited:
		return fmt.Sprintf("exit status %d", log.ExitStatus)
	case log.Ending == Signaled:
		return fmt.Sprintf("death by %s", log.Signal)
	}
	return fmt.Sprintf("%s: %s; it had to be killed", log.Ending, log.Detail)
}

// lastWords is what usually explains an end: the last line on stderr, and how far
// the guest came.
func lastWords(log *Log) string {
	var words []string
	if stderr := bytes.TrimSpace(log.Stderr); len(stderr) > 0 {
		words = append(words, fmt.Sprintf("its last line on stderr: %s", clip(lastLine(stderr))))
	}
	if n := len(log.Exits); n > 0 {
		words = append(words, fmt.Sprintf("the last of %d exits: %v", n, log.Exits[n-1].Exit))
	}
	return strings.Join(words, "; ")
}

func lastLine(text []byte) []byte { return text[bytes.LastIndexByte(text, '\n')+1:] }

// CheckText asks for the text as one or more whole lines of the output. A line
// feed at its end does not matter; other lines may stand before and after.
func CheckText(log *Log, want string) error {
	text := bytes.TrimRight([]byte(want), "\n")
	if containsLines(log.Stdout, text) {
		return nil
	}
	got, difference := compare(log.Stdout, text)
	return &Mismatch{
		Check:    "text",
		Expected: fmt.Sprintf("%q on lines of its own", text),
		Got:      got,
		Why:      joinReasons(difference, hintStderr(log, text), hintLost(log)),
	}
}

// containsLines tells whether text stands in output from the start of a line to
// the end of one.
func containsLines(output, text []byte) bool {
	framed := append(append([]byte("\n"), output...), '\n')
	return bytes.Contains(framed, append(append([]byte("\n"), text...), '\n'))
}

// CheckExits asks for the exits of a program that writes n characters: n times
// KVM_EXIT_IO with one byte written to the port, then one KVM_EXIT_HLT, no more.
func CheckExits(log *Log, n int) error {
	for i, exit := range log.Exits {
		switch {
		case i < n && !(log.isText(exit) && exit.IO.Count == 1):
			return exitMismatch(log, n, i, "")
		case i == n && exit.Reason != kvm.ExitHLT:
			return exitMismatch(log, n, i, "the guest should be done by then")
		case i > n:
			return exitMismatch(log, n, i, "the guest was entered again after it had halted")
		}
	}
	if len(log.Exits) <= n {
		return tooFewExits(log, n)
	}
	return nil
}

func exitMismatch(log *Log, n, i int, why string) *Mismatch {
	return &Mismatch{
		Check:    "exits",
		Expected: expectedExits(log, n),
		Got:      fmt.Sprintf("%v as exit %d", log.Exits[i].Exit, i+1),
		Why:      why,
	}
}

func expectedExits(log *Log, n int) string {
	return fmt.Sprintf("%d times KVM_EXIT_IO (out, port %#x, one byte) and then one KVM_EXIT_HLT", n, log.Port)
}

func tooFewExits(log *Log, n int) *Mismatch {
	m := &Mismatch{Check: "exits", Expected: expectedExits(log, n)}
	switch {
	case unused(log) != "":
		m.Got = unused(log)
	case len(log.Exits) == 0:
		m.Got = "no exit: KVM_RUN never came back to the program with one"
	case len(log.Exits) == n:
		m.Got = fmt.Sprintf("%d exits and no KVM_EXIT_HLT: the guest was not run to its end", n)
	default:
		m.Got = fmt.Sprintf("%d exits", len(log.Exits))
	}
	m.Why = joinReasons(lastFailure(log), lastWords(log))
	return m
}

// lastFailure names the last ioctl that failed for another reason than a signal.
func lastFailure(log *Log) string {
	for i := len(log.Ioctls) - 1; i >= 0; i-- {
		if ioctl := log.Ioctls[i]; ioctl.Errno != "" && ioctl.Errno != "EINTR" {
			return fmt.Sprintf("%s failed with %s", ioctl.Name, ioctl.Errno)
		}
	}
	return ""
}

// CheckTransform asks that the program printed what it trapped, transformed:
//
//   - the transform of the trapped bytes, injected ones in place, stands in the
//     output in one piece; a line feed at its end does not matter;
//   - what is left of the output does not hold that text again, nor, after an
//     injection, the guest's own text, transformed or in any case of its letters:
//     the program cannot have that from the kvm_run page.
//
// Other output around it, such as a line "KVM_EXIT_HLT", is allowed. Text shorter
// than four characters is not searched for in the rest, where it could stand by
// chance.
func CheckTransform(log *Log, transform Transform) error {
	trapped := log.Trapped()
	want := trimLine(transform.Apply(trapped))
	if len(trapped) == 0 {
		return &Mismatch{
			Check:    "transform",
			Expected: fmt.Sprintf("bytes written to port %#x by the guest", log.Port),
			Got:      "none",
			Why:      joinReasons(unused(log), lastFailure(log), lastWords(log)),
		}
	}
	before, after, found := bytes.Cut(log.Stdout, want)
	if !found {
		return notTransformed(log, transform, want)
	}
	for _, rest := range [][]byte{before, after} {
		if text := foreignText(log, transform, rest, want); text != nil {
			return &Mismatch{
				Check:    "transform",
				Expected: fmt.Sprintf("%q, which is %s of the trapped bytes, once and no other text", want, transform),
				Got:      fmt.Sprintf("%q too, in %q", text, excerpt(rest, bytes.Index(rest, text), len(text))),
				Why:      "this text did not come out of the kvm_run page at an exit",
			}
		}
	}
	return nil
}

// trimLine takes line feeds off the end of a text that has something before them.
func trimLine(text []byte) []byte {
	if line := bytes.TrimRight(text, "\n"); len(line) > 0 {
		return line
	}
	return text
}

// foreignText finds text in the rest of the output that was not trapped.
func foreignText(log *Log, transform Transform, rest, want []byte) []byte {
	if holds(rest, want) {
		return want
	}
	return ownText(log, transform, rest)
}

// holds tells whether output contains a text long enough not to be there by
// chance.
func holds(output, text []byte) bool {
	const shortest = 4
	return len(text) >= shortest && bytes.Contains(output, text)
}

// fold makes texts comparable that differ in the case of ASCII letters.
func fold(text []byte) []byte { return Lower.Apply(text) }

func notTransformed(log *Log, transform Transform, want []byte) *Mismatch {
	m := &Mismatch{
		Check:    "transform",
		Expected: fmt.Sprintf("%q, which is %s of the trapped bytes %q", want, transform, log.Trapped()),
	}
	if own := ownText(log, transform, log.Stdout); own != nil {
		m.Got = fmt.Sprintf("%q", own)
		m.Why = fmt.Sprintf("that is the guest's own text, although the kvm_run page held other bytes at each exit: "+
			"it was taken from somewhere else (a constant, the guest's memory or its registers); "+
			"the task is to handle the byte at KVM_EXIT_IO%s", hintGuest(log, transform))
		return m
	}
	var difference string
	m.Got, difference = compare(log.Stdout, want)
	m.Why = joinReasons(difference, explain(log, transform, want), hintStderr(log, want), hintLost(log))
	return m
}

// ownText returns the piece of an output that is the guest's own text, transformed
// or in any case of its letters, where the program cannot have it from the kvm_run
// page.
func ownText(log *Log, transform Transform, output []byte) []byte {
	if len(log.Injected) == 0 {
		return nil
	}
	emitted := bytes.TrimSpace(log.Emitted())
	for _, own := range [][]byte{emitted, transform.Apply(emitted)} {
		if holds(fold(output), fold(own)) {
			offset := bytes.Index(fold(output), fold(own))
			return output[offset : offset+len(own)]
		}
	}
	return nil
}

// hintGuest notices a guest whose text needs no change any more.
func hintGuest(log *Log, transform Transform) string {
	emitted := log.Emitted()
	if !bytes.ContainsFunc(emitted, func(r rune) bool { return r < 0x80 && isLetter(byte(r)) }) ||
		!bytes.Equal(transform.Apply(emitted), emitted) {
		return ""
	}
	return fmt.Sprintf(", and the guest itself already writes %q: the guest's code was changed", bytes.TrimSpace(emitted))
}

// explain guesses from the output what the program does instead of the task.
func explain(log *Log, transform Transform, want []byte) string {
	if trapped := trimLine(log.Trapped()); bytes.Contains(log.Stdout, trapped) {
		return "the bytes were printed as they were trapped" + hintGuest(log, transform)
	}
	return explainByte(log.Stdout, log.Trapped(), want)
}

// explainByte looks at the first byte that differs.
func explainByte(output, trapped, want []byte) string {
	offset := closest(output, want)
	i := commonPrefix(output[offset:], want)
	switch {
	case i == len(want) || offset+i == len(output):
		return ""
	case want[i] > 0x7f:
		return "bytes above 0x7f are no ASCII letters and have to stay as they are"
	case output[offset+i] == trapped[i]:
		return "this byte was printed as it was trapped"
	}
	return ""
}

// hintStderr notices text that was written to the wrong stream.
func hintStderr(log *Log, text []byte) string {
	if bytes.Contains(log.Stderr, text) {
		return "the text is on standard error; it belongs on standard output"
	}
	return ""
}

// hintLost explains why a program that had to be killed printed less than its
// author has seen on a terminal.
func hintLost(log *Log) string {
	if log.Ending == Exited {
		return ""
	}
	return fmt.Sprintf("it did not end by itself (%s): what printf and putchar still held in their buffer is lost", describeEnd(log))
}

func joinReasons(reasons ...string) string {
	var given []string
	for _, reason := range reasons {
		if reason != "" {
			given = append(given, reason)
		}
	}
	return strings.Join(given, "\n  ")
}

// compare describes the piece of the output that comes closest to the text, and
// the first character, counted from 1, in which they differ.
func compare(output, text []byte) (got, difference string) {
	if len(output) == 0 {
		return "no output", ""
	}
	offset := closest(output, text)
	piece := output[offset:min(len(output), offset+len(text))]
	i := commonPrefix(piece, text)
	if i == len(text) {
		return fmt.Sprintf("%q", excerpt(output, offset, len(text))), "more stands on the same line"
	}
	if i == len(piece) {
		return fmt.Sprintf("%q", piece), fmt.Sprintf("first difference at character %d: %q is missing", i+1, text[i:])
	}
	return fmt.Sprintf("%q", piece),
		fmt.Sprintf("first difference at character %d: expected %q, got %q", i+1, text[i:i+1], piece[i:i+1])
}

// clip quotes the beginning of a text that may be very long.
func clip(text []byte) string {
	const enough = 200
	if len(text) <= enough {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q and %d bytes more", text[:enough], len(text)-enough)
}

// excerpt widens a piece of the output by a few bytes on each side.
func excerpt(output []byte, offset, length int) []byte {
	const around = 20
	return output[max(0, offset-around):min(len(output), offset+length+around)]
}

// closest returns the offset of the piece of output that resembles the text most:
// the one that agrees longest from its start, and then in most places whatever the
// case of letters.
func closest(output, text []byte) int {
	best, bestScore := 0, -1
	for offset := range output {
		piece := output[offset:]
		score := 4*commonPrefix(piece, text) + 2*agreement(piece, text)
		if offset == 0 || output[offset-1] == '\n' {
			score++
		}
		if score > bestScore {
			best, bestScore = offset, score
		}
	}
	return best
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// agreement counts the places in which two texts agree but for case.
func agreement(a, b []byte) int {
	count := 0
	for i := range min(len(a), len(b)) {
		if lower(a[i]) == lower(b[i]) {
			count++
		}
	}
	return count
}
