package sysbench

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// ErrNothingDone is the error for a run that ended without a single event.
var ErrNothingDone = errors.New("sysbench did nothing, though it may have exited with status 0")

// ErrFolded is the error for output in which sysbench has replaced repeated
// lines, so that numbers may be missing.
var ErrFolded = errors.New("sysbench folded repeated lines of its output")

// FatalError is a complaint of sysbench, found on its stdout.
type FatalError struct {
	Lines []string // the complaint, and the hints that follow it
}

// Error quotes the complaint.
func (e *FatalError) Error() string { return "sysbench failed: " + strings.Join(e.Lines, "; ") }

// The labels of lines without a colon, under which report keeps their values.
const (
	labelVersion     = "version"
	labelOperations  = "operations"
	labelRate        = "operations per second"
	labelTransferred = "transferred"
	labelMiBRate     = "MiB/sec"
	labelFiles       = "files"
	labelTotalSize   = "total file size"
	labelBlockSize   = "file block size"
	labelMode        = "file test"
)

// shapes are the lines without a colon, with the labels of their groups.
var shapes = []struct {
	pattern *regexp.Regexp
	labels  []string
}{
	{regexp.MustCompile(`^sysbench (\S+)(?: .*)?$`), []string{labelVersion}},
	{regexp.MustCompile(`^Total operations: (\d+) \( *(\S+) per second\)$`), []string{labelOperations, labelRate}},
	{regexp.MustCompile(`^(\S+) MiB transferred \( *(\S+) MiB/sec\)$`), []string{labelTransferred, labelMiBRate}},
	{regexp.MustCompile(`^(\d+) files, \S+ each$`), []string{labelFiles}},
	{regexp.MustCompile(`^(\S+) total file size$`), []string{labelTotalSize}},
	{regexp.MustCompile(`^Block size (\S+)$`), []string{labelBlockSize}},
	{regexp.MustCompile(`^Doing (.+) test$`), []string{labelMode}},
}

var (
	complaint = regexp.MustCompile(`^(?:FATAL|ALERT|CRITICAL|PANIC|[Ee]rror|ERROR): `)
	warning   = regexp.MustCompile(`^WARNING: `)
	folded    = regexp.MustCompile(`^\(last message repeated \d+ times\)$`)
)

// modeTexts are sysbench's words for the modes of fileio.
var modeTexts = map[string]Mode{
	"sequential write (creation)": SeqWrite,
	"sequential rewrite":          SeqRewrite,
	"sequential read":             SeqRead,
	"random read":                 RandRead,
	"random write":                RandWrite,
	"random r/w":                  RandMixed,
}

// report holds the labelled values of one run. The getters note what is
// missing, and finish tells.
type report struct {
	values   map[string]string
	warnings []string
	problems []error
}

// scan takes the text apart. Lines that it does not know are no concern of it.
func scan(text string) (*report, error) {
	r := &report{values: make(map[string]string)}
	var complaints []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case folded.MatchString(line):
			r.fail(fmt.Errorf("%w: %s", ErrFolded, line))
		case complaint.MatchString(line):
			complaints = append(complaints, line)
		case warning.MatchString(line):
			r.warnings = append(r.warnings, line)
		default:
			r.note(line)
		}
	}
	if len(complaints) > 0 {
		return nil, &FatalError{Lines: append(complaints, r.warnings...)}
	}
	return r, errors.Join(r.problems...)
}

// note keeps the values of a line.
func (r *report) note(line string) {
	for _, shape := range shapes {
		if m := shape.pattern.FindStringSubmatch(line); m != nil {
			for i, label := range shape.labels {
				r.set(label, m[i+1])
			}
			return
		}
	}
	if label, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(value) != "" {
		r.set(label, strings.TrimSpace(value))
	}
}

// set keeps a value. A label that comes twice means two runs in one text.
func (r *report) set(label, value string) {
	if old, twice := r.values[label]; twice {
		r.fail(fmt.Errorf("%q is there twice (%s, %s): this is the output of more than one run", label, old, value))
	}
	r.values[label] = value
}

func (r *report) fail(err error) { r.problems = append(r.problems, err) }

// text returns the value of a label.
func (r *report) text(label string) string {
	value, found := r.values[label]
	if !found {
		r.fail(fmt.Errorf("the output has no %q: it is cut off, or of another test", label))
	}
	return value
}

// number returns the value of a label with a unit after it.
func (r *report) number(label, unit string) float64 {
	return r.parse(label, strings.TrimSuffix(r.text(label), unit))
}

// parse reads a number that sysbench can have printed: finite and not negative.
func (r *report) parse(label, text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if text != "" && (err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0) {
		r.fail(fmt.Errorf("%q is %q, expected a number", label, text))
		return 0
	}
	return n
}

// count returns a whole number with a unit after it.
func (r *report) count(label, unit string) int64 {
	text := strings.TrimSuffix(r.text(label), unit)
	n, err := strconv.ParseInt(text, 10, 64)
	if text != "" && (err != nil || n < 0) {
		r.fail(fmt.Errorf("%q is %q, expected a whole number", label, text))
		return 0
	}
	return n
}

// pair returns a mean and its standard deviation, "12.5/0.7".
func (r *report) pair(label string) (mean, stddev float64) {
	a, b, _ := strings.Cut(r.text(label), "/")
	return r.parse(label, a), r.parse(label, b)
}

// units are sysbench's units of sizes.
var units = []struct {
	name  string
	bytes float64
}{{"TiB", GiB * KiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// size returns a size in bytes, from text like "4KiB".
func (r *report) size(label string) int64 {
	text := r.text(label)
	for _, unit := range units {
		if number, is := strings.CutSuffix(text, unit.name); is {
			return int64(math.Round(min(r.parse(label, number)*unit.bytes, 1<<62)))
		}
	}
	return int64(min(r.parse(label, text), 1<<62))
}

// general reads what every test reports.
func (r *report) general() General {
	g := General{
		Version:   r.text(labelVersion),
		Threads:   int(r.count("Number of threads", "")),
		TotalTime: r.number("total time", "s"),
		Events:    r.count("total number of events", ""),
		Latency: Latency{
			MinMS: r.number("min", ""), AvgMS: r.number("avg", ""), MaxMS: r.number("max", ""),
			P95MS: r.number("95th percentile", ""), SumMS: r.number("sum", ""),
		},
		Warnings: r.warnings,
	}
	g.EventsPerThread, g.EventsPerThreadStddev = r.pair("events (avg/stddev)")
	g.BusyPerThread, g.BusyPerThreadStddev = r.pair("execution time (avg/stddev)")
	return g
}

// finish tells all that was wrong with the output of a test.
func (r *report) finish(test string, g General, checks ...error) error {
	problems := r.problems
	if len(problems) == 0 && g.Events == 0 {
		problems = append(problems, ErrNothingDone)
	}
	if len(problems) == 0 {
		problems = append(checks, g.check())
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("sysbench %s: %w", test, err)
	}
	return nil
}

// ParseCPU reads the output of "sysbench cpu run" and checks it.
func ParseCPU(stdout string) (CPUResult, error) {
	r, err := scan(stdout)
	if err != nil {
		return CPUResult{}, fmt.Errorf("sysbench cpu: %w", err)
	}
	result := CPUResult{
		General:         r.general(),
		MaxPrime:        int(r.count("Prime numbers limit", "")),
		EventsPerSecond: r.number("events per second", ""),
	}
	if err := r.finish("cpu", result.General, result.check()); err != nil {
		return CPUResult{}, err
	}
	return result, nil
}

// ParseMemory reads the output of "sysbench memory run" and checks it.
func ParseMemory(stdout string) (MemoryResult, error) {
	r, err := scan(stdout)
	if err != nil {
		return MemoryResult{}, fmt.Errorf("sysbench memory: %w", err)
	}
	result := MemoryResult{
		General:             r.general(),
		BlockKiB:            r.count("block size", "KiB"),
		TotalMiB:            r.count("total size", "MiB"),
		Op:                  Operation(r.text("operation")),
		Scope:               Scope(r.text("scope")),
		Operations:          r.count(labelOperations, ""),
		OperationsPerSecond: r.number(labelRate, ""),
		TransferredMiB:      r.number(labelTransferred, ""),
		MiBPerSecond:        r.number(labelMiBRate, ""),
	}
	if err := r.finish("memory", result.General, result.check()); err != nil {
		return MemoryResult{}, err
	}
	return result, nil
}

// ParseFileIO reads the output of "sysbench fileio run" and checks it.
func ParseFileIO(stdout string) (FileIOResult, error) {
	r, err := scan(stdout)
	if err != nil {
		return FileIOResult{}, fmt.Errorf("sysbench fileio: %w", err)
	}
	result := FileIOResult{
		General:           r.general(),
		Mode:              r.mode(),
		Flags:             r.text("Extra file open flags"),
		Files:             int(r.count(labelFiles, "")),
		TotalBytes:        r.size(labelTotalSize),
		BlockBytes:        r.size(labelBlockSize),
		ReadsPerSecond:    r.number("reads/s", ""),
		WritesPerSecond:   r.number("writes/s", ""),
		FsyncsPerSecond:   r.number("fsyncs/s", ""),
		ReadMiBPerSecond:  r.number("read, MiB/s", ""),
		WriteMiBPerSecond: r.number("written, MiB/s", ""),
	}
	if err := r.finish("fileio", result.General, result.check()); err != nil {
		return FileIOResult{}, err
	}
	return result, nil
}

// mode returns the mode of a fileio run.
func (r *report) mode() Mode {
	text := r.text(labelMode)
	mode, known := modeTexts[text]
	if text != "" && !known {
		r.fail(fmt.Errorf("unknown file test %q", text))
	}
	return mode
}

// CheckPhase returns an error if sysbench complained in the output of a phase
// that has no numbers: Prepare or Cleanup.
func CheckPhase(stdout string) error {
	_, err := scan(stdout)
	var fatal *FatalError
	if errors.As(err, &fatal) {
		return fmt.Errorf("sysbench fileio: %w", err)
	}
	return nil
}

// Parse reads the output of the run that c asks for.
func (c CPU) Parse(stdout string) (CPUResult, error) {
	result, err := ParseCPU(stdout)
	if err != nil {
		return result, err
	}
	err = same("threads", c.Threads, result.Threads)
	if c.MaxPrime > 0 {
		err = errors.Join(err, same("prime limit", c.MaxPrime, result.MaxPrime))
	}
	return asked("cpu", result, err)
}

// Parse reads the output of the run that m asks for, and adds what sysbench
// does not print.
func (m Memory) Parse(stdout string) (MemoryResult, error) {
	result, err := ParseMemory(stdout)
	if err != nil {
		return result, err
	}
	result.Access = m.Access
	return asked("memory", result, errors.Join(
		same("threads", m.Threads, result.Threads), same("KiB in a block", m.BlockSize/KiB, result.BlockKiB),
		same("operation", m.Op, result.Op), same("scope", m.Scope, result.Scope),
	))
}

// Parse reads the output of the run that f asks for.
func (f FileIO) Parse(stdout string) (FileIOResult, error) {
	result, err := ParseFileIO(stdout)
	if err != nil {
		return result, err
	}
	return asked("fileio", result, errors.Join(
		same("threads", f.Threads, result.Threads), same("bytes in a block", f.BlockSize, result.BlockBytes),
		same("mode", f.Mode, result.Mode), same("files", f.FileNum, result.Files),
		same("bytes in all files", f.TotalSize, result.TotalBytes),
		same("direct I/O", f.Direct, strings.Contains(result.Flags, "directio")),
	))
}

// same compares a setting with what the output says of it.
func same[T comparable](what string, asked, printed T) error {
	if asked != printed {
		return fmt.Errorf("%s: asked for %v, the output says %v", what, asked, printed)
	}
	return nil
}

// asked returns the result unless it is not the one asked for.
func asked[R any](test string, result R, err error) (R, error) {
	if err != nil {
		var none R
		return none, fmt.Errorf("sysbench %s: this is the output of another run: %w", test, err)
	}
	return result, nil
}
