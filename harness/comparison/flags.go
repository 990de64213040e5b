package comparison

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"virtlab/harness/bench"
	"virtlab/harness/result"
)

// The comparison's flags. Makefile's help and docs/comparison.md list them.
var (
	quickFlag    = flag.Bool("quick", false, "a few cells of each matrix, 1 s each; about 2 minutes for two VMMs")
	courseFlag   = flag.Bool("course", false, "as the course does it, 10 s a cell, twice; about 25 minutes for two VMMs")
	cellFlag     = flag.Duration("cell", 0, "how long a sysbench cell runs; 0: as long as the mode says")
	samplesFlag  = flag.Int("samples", 0, "how often each sysbench cell is measured; 0: as often as the mode says")
	bootsFlag    = flag.Int("boots", 0, "how many boots are measured; 0: as many as the mode says")
	vmmsFlag     = flag.String("vmms", "", "the VMMs, separated by commas: qemu-pc, qemu-q35, qemu-microvm, gokvm, stratovirt, firecracker; default: all but qemu-q35")
	onFlag       = flag.String("on", "", "where VMMs run: host or L1; default: both, as need be")
	stratoFlag   = flag.String("stratovirt", "", "path of the stratovirt binary; default: $STRATOVIRT, then PATH")
	fireFlag     = flag.String("firecracker", "", "path of the firecracker binary; default: $FIRECRACKER, then PATH")
	diskFlag     = flag.String("disk", "", "the raw block device that guests get as disk; what it holds is lost. Default: a file")
	iKnowFlag    = flag.Bool("i-know", false, "-disk even where the device has partitions or a file system, or is mounted")
	reportFlag   = flag.String("report", "", "directory of the results; default: out/bench of the project")
	resumeFlag   = flag.Bool("resume", false, "go on with the one whose results are in -report")
	wrapFlag     wraps
	allVMMs      = []string{"qemu-pc", "qemu-microvm", "gokvm", "stratovirt", "firecracker"}
	everyVMM     = append([]string{"qemu-q35"}, allVMMs...)
	comparedOn   = []string{onHost, onL1}
	errTwoModes  = result.Errorf(result.Host, "-quick and -course: want one of them")
	errWrapUsage = fmt.Errorf("want VMM=PROGRAM[,ARG...]")
)

func init() {
	flag.Var(&wrapFlag, "wrap", "`VMM=PROGRAM[,ARG...]`: one contender more, that VMM started by this program (taskset, a tracer); may come more than once")
}

// wraps are what -wrap says.
type wraps []Wrap

func (w wraps) String() string { return "" }

// Set takes one wrap over.
func (w *wraps) Set(text string) error {
	name, line, ok := strings.Cut(text, "=")
	if !ok || line == "" || !slices.Contains(everyVMM, name) {
		return errWrapUsage
	}
	*w = append(*w, Wrap{VMM: name, Argv: strings.Split(line, ",")})
	return nil
}

// compareMode is what -quick and -course say.
func compareMode() (bench.Mode, error) {
	switch {
	case *quickFlag && *courseFlag:
		return "", errTwoModes
	case *quickFlag:
		return bench.Quick, nil
	case *courseFlag:
		return bench.Course, nil
	default:
		return bench.Default, nil
	}
}

// checkCompareFlags finds what cannot be meant, before anything is measured.
func checkCompareFlags() error {
	if _, err := compareMode(); err != nil {
		return err
	}
	for _, name := range comparedVMMs() {
		if !slices.Contains(everyVMM, name) {
			return result.Errorf(result.Host, "-vmms: there is no %q: want some of %s", name, strings.Join(everyVMM, ", "))
		}
	}
	if *onFlag != "" && !slices.Contains(comparedOn, *onFlag) {
		return result.Errorf(result.Host, "-on %s: want host or L1", *onFlag)
	}
	if *cellFlag != 0 && (*cellFlag < time.Second || *cellFlag%time.Second != 0) {
		return result.Errorf(result.Host, "-cell %s: sysbench runs for whole seconds, one at least", *cellFlag)
	}
	if *diskFlag != "" {
		return bench.CheckDisk(*diskFlag, *iKnowFlag)
	}
	return nil
}

// comparedVMMs are the VMMs that -vmms names.
func comparedVMMs() []string {
	if *vmmsFlag == "" {
		return allVMMs
	}
	return strings.Split(*vmmsFlag, ",")
}
