package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/machine"
	"virtlab/harness/sandbox"
)

// level is how a diagnosis turned out.
type level string

const (
	fine level = "ok"
	warn level = "warn" // something is slower, or will be put right by make setup
	fail level = "fail" // the labs cannot run
)

// finding is one line of the doctor's.
type finding struct {
	level level
	text  string
	todo  string // what to do; empty where all is well
}

// check looks at one property of the machine.
type check struct {
	name string
	look func(context.Context) finding
}

var checks = []check{
	{"processor", checkProcessor},
	{"memory", checkMemory},
	{"go", checkGo},
	{"packages", checkPackages},
	{"accelerator", checkAccelerator},
	{"cache", checkCache},
	{"assets", checkAssets},
	{"sandbox", checkSandbox},
	{"TMPDIR", checkTempDir},
}

// runDoctor says what the machine offers. It installs nothing and builds no more
// than a test run would.
func runDoctor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if err := parseFlags(flag.NewFlagSet("doctor", flag.ContinueOnError), args, stderr, 0); err != nil {
		return err
	}
	return examine(ctx, checks, stdout)
}

// examine prints the findings; any that fails is the error.
func examine(ctx context.Context, checks []check, w io.Writer) error {
	failed := false
	for _, c := range checks {
		f := c.look(ctx)
		failed = failed || f.level == fail
		fmt.Fprintf(w, "%-5s %-12s %s\n", f.level, c.name, f.text)
		if f.todo != "" {
			fmt.Fprintf(w, "%18s what to do: %s\n", "", f.todo)
		}
	}
	if failed {
		return errQuiet
	}
	return ctx.Err()
}

func ok(format string, args ...any) finding { return finding{fine, fmt.Sprintf(format, args...), ""} }

func trouble(l level, err error) finding {
	message, todo := firstLine(err)
	return finding{l, message, todo}
}

func checkProcessor(context.Context) finding {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return finding{fail, runtime.GOOS + " on " + runtime.GOARCH, "the labs are about x86-64: run them on Linux on such a machine"}
	}
	if n := runtime.NumCPU(); n < 2 {
		return finding{warn, "1 CPU: builds and boots take about twice as long as on two", ""}
	}
	return ok("%d CPUs, x86-64", runtime.NumCPU())
}

// The nested labs run L1 with 2 GiB, a second guest beside it at times, and the
// compiler and the linker of a Go test.
const (
	memoryLeast = 2560 // MiB
	memoryWell  = 4096
)

func checkMemory(context.Context) finding {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return trouble(warn, err)
	}
	defer f.Close()
	kib, err := meminfo(f, "MemAvailable")
	if err != nil {
		return trouble(warn, err)
	}
	return judgeMemory(kib / 1024)
}

func judgeMemory(mib int) finding {
	switch text := fmt.Sprintf("%d MiB available", mib); {
	case mib < memoryLeast:
		return finding{fail, text, fmt.Sprintf("the nested labs need %d MiB: close other programs", memoryLeast)}
	case mib < memoryWell:
		return finding{warn, text, "run the labs one after the other: go test -parallel 1 ./labs/..."}
	default:
		return ok("%s", text)
	}
}

// meminfo reads a field of /proc/meminfo, in KiB (proc_meminfo(5)).
func meminfo(r io.Reader, field string) (kib int, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == field+":" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", field)
}

func checkGo(ctx context.Context) finding {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return finding{fail, "go env GOVERSION: " + err.Error(), "put Go (" + runtime.Version() + " or later) into PATH"}
	}
	// This program was built with a Go that go.mod accepts; the go command in
	// PATH may be another one.
	return ok("%s in PATH", strings.TrimSpace(string(out)))
}

func checkPackages(context.Context) finding {
	all := build.Packages()
	missing := build.Missing(all)
	if len(missing) == 0 {
		return ok("all %d Debian packages, or what they hold, are here", len(all))
	}
	return finding{warn, fmt.Sprintf("%d of %d missing: %s", len(missing), len(all), strings.Join(build.Names(missing), " ")),
		"make setup installs them"}
}

// checkAccelerator probes KVM by use. Emulation is no trouble: the whole course
// runs on it.
func checkAccelerator(context.Context) finding {
	accel, why := harness.Accel()
	return ok("%s: %s", accel, why)
}

func checkCache(context.Context) finding {
	dir, err := build.DefaultDir()
	if err != nil {
		return trouble(fail, err)
	}
	at := existing(dir)
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return finding{fail, fmt.Sprintf("%s is not writable", at), "make it writable, or set XDG_CACHE_HOME to another directory"}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return trouble(fail, fmt.Errorf("%s: %w", at, err))
	}
	return judgeSpace(dir, build.DiskUsage(dir), int64(st.Bavail)*st.Bsize)
}

// existing is the nearest directory at or above dir that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func judgeSpace(dir string, used, free int64) finding {
	text := fmt.Sprintf("%s takes %s, %s free", dir, humanSize(used), humanSize(free))
	if free < build.SetupBytes {
		return finding{warn, text, fmt.Sprintf("a first set-up needs about %d GiB: free some, or set XDG_CACHE_HOME to a larger disk", build.SetupBytes>>30)}
	}
	return ok("%s", text)
}

func checkAssets(context.Context) finding {
	root, err := harness.Root()
	if err != nil {
		return trouble(warn, err)
	}
	dir, err := build.DefaultDir()
	if err != nil {
		return trouble(fail, err)
	}
	if existing(dir) != dir {
		return finding{warn, "nothing is built yet", fmt.Sprintf("make setup, about %d minutes", build.SetupMinutes)}
	}
	cache, err := build.OpenCache(dir, io.Discard)
	if err != nil {
		return trouble(fail, err)
	}
	if _, err := build.Find(root, cache); err != nil {
		return trouble(warn, err)
	}
	return ok("kernel, QEMU, programs and images are built")
}

func checkSandbox(context.Context) finding {
	if err := sandbox.Available(); err != nil {
		return trouble(fail, err)
	}
	return ok("bubblewrap makes one")
}

func checkTempDir(ctx context.Context) finding {
	dir, err := machine.Host.TempDir(ctx)
	if err != nil {
		return trouble(fail, err)
	}
	_ = machine.Host.RemoveAll(ctx, dir)
	return ok("%s, short enough for unix sockets", filepath.Dir(dir))
}
