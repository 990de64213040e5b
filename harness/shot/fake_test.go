package shot

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire"
	"virtlab/harness/job"
)

// asVMM makes the test binary a VMM with a guest: its value says which.
const asVMM = "VIRTLAB_TEST_VMM"

// asShot makes the test binary virtlab's subcommand.
const asShot = "VIRTLAB_TEST_SHOT"

func TestMain(m *testing.M) {
	if name := os.Getenv(asVMM); name != "" {
		fakes[name](os.Args[1:])
		os.Exit(0)
	}
	if os.Getenv(asShot) != "" {
		serveForTest()
		return
	}
	os.Exit(m.Run())
}

// fakes are VMMs by name. One that returns ends with status 0.
var fakes = map[string]func(args []string){
	"good": func([]string) {
		boot(os.Stdout)
		frame(os.Stdout, job.FrameDone, nil)
	},
	"does its job": doesItsJob,
	"never ends": func([]string) {
		boot(os.Stdout)
		frame(os.Stdout, job.FrameDone, nil)
		hang()
	},
	"hangs": func([]string) {
		boot(os.Stdout)
		hang()
	},
	"prints dots": func([]string) {
		boot(os.Stdout)
		for {
			fmt.Print(".")
			time.Sleep(20 * time.Millisecond)
		}
	},
	"refuses": func([]string) {
		fmt.Fprintln(os.Stderr, "fake: -machine nonsense: unsupported machine type")
		os.Exit(3)
	},
	"crashes": func([]string) {
		boot(os.Stdout)
		raise(unix.SIGSEGV)
	},
	"is killed": func([]string) { raise(unix.SIGKILL) },
	"resets":    func([]string) { boot(os.Stdout) },
	"panics": func([]string) {
		boot(os.Stdout)
		fmt.Println("[    1.234567] Kernel panic - not syncing: Attempted to kill init!")
		fmt.Println("[    1.234568] CPU: 0 PID: 1 Comm: init")
		hang()
	},
	"panics and resets": func([]string) {
		fmt.Println("[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs")
	},
	"faults": func([]string) {
		boot(os.Stdout)
		frame(os.Stdout, job.FrameFault, []byte("no sysbench"))
		hang()
	},
	"damages": func([]string) {
		boot(os.Stdout)
		var b strings.Builder
		_ = job.Encode(&b, job.Frame{Name: job.FrameDone, Data: []byte("some data")})
		fmt.Print(strings.Replace(b.String(), "done", "dome", 1))
		hang()
	},
	"leaves a child": func([]string) {
		boot(os.Stdout)
		c := exec.Command("sleep", "1000")
		c.Stdout = os.Stdout
		_ = c.Start()
		fmt.Println("child", c.Process.Pid)
		frame(os.Stdout, job.FrameDone, nil)
	},
	"wants a terminal": func([]string) {
		mode, err := unix.IoctlGetTermios(0, unix.TCGETS)
		if err != nil {
			fmt.Fprintln(os.Stderr, "fake: stdin is no terminal")
			os.Exit(1)
		}
		fmt.Println("cooked:", mode.Oflag&unix.OPOST != 0, mode.Lflag&unix.ECHO != 0)
		boot(os.Stdout)
		frame(os.Stdout, job.FrameDone, nil)
	},
	"listens":         listens,
	"has guest RAM":   hasGuestRAM,
	"floods":          floods,
	"burns CPU":       burns,
	"tells of itself": tells,
}

func hang() { time.Sleep(time.Hour) }

// raise ends the process by a signal. A shell does it, as Go's runtime handles some
// signals itself.
func raise(s syscall.Signal) {
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$", s)}, nil)
}

func boot(w io.Writer) {
	fmt.Fprint(w, "early words\r\n", wire.Marker, "\r\n")
	frame(w, job.FrameUp, job.Up{InitBoottime: time.Second, Kernel: "6.1", CPUs: 1})
}

// frame prints a frame; data that are no bytes become JSON.
func frame(w io.Writer, name string, data any) {
	b, ok := data.([]byte)
	if !ok && data != nil {
		b, _ = json.Marshal(data)
	}
	if err := job.Encode(w, job.Frame{Name: name, Data: b}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// doesItsJob reads the job from the disk that its first argument names. A second
// one is where its monitor listens.
func doesItsJob(args []string) {
	if len(args) > 1 {
		l, err := net.Listen("unix", args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			if conn, err := l.Accept(); err == nil {
				answer(conn)
			}
		}()
	}
	spec, err := job.ReadTail(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	boot(os.Stdout)
	for _, c := range spec.Cells {
		frame(os.Stdout, job.FrameBegin, []byte(c.Name))
		time.Sleep(50 * time.Millisecond)
		frame(os.Stdout, job.FrameEnd, []byte(c.Name))
		frame(os.Stdout, job.FrameOutput, job.Output{Cell: c.Name, Text: strings.Join(c.Run, " ")})
	}
	frame(os.Stdout, job.FrameDone, nil)
	time.Sleep(50 * time.Millisecond) // the monitor is asked last after the last cell
}

// listens has its console on a socket, as StratoVirt does, and is slow to come up.
func listens(args []string) {
	time.Sleep(50 * time.Millisecond)
	l, err := net.Listen("unix", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	conn, err := l.Accept()
	if err != nil {
		os.Exit(1)
	}
	boot(conn)
	frame(conn, job.FrameDone, nil)
	raise(unix.SIGKILL) // the socket stays
}

// The memory of a VMM with guest RAM, in pages.
const (
	fakeRAM   = 4096
	fakeNonce = 0x1122334455667788
	edge      = 16 // of the same mapping, on either side of guest RAM
)

var (
	fakeFilled = []uint64{1, 2, 3, 700, 4095} // numbers of guest pages that hold the nonce
	fakeUsed   = 100                          // guest pages that hold something else
)

// hasGuestRAM holds pages as a guest's job does, in a mapping that is larger than
// guest RAM, as Linux makes one of neighbours.
func hasGuestRAM(args []string) {
	mem, err := unix.Mmap(-1, 0, (fakeRAM+2*edge)*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err == nil {
		err = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := range 2 * edge { // all of it resident, but no guest's
		side := i / edge * (fakeRAM + edge)
		mem[(side+i%edge)*pageSize] = 1
	}
	ram := mem[edge*pageSize:]
	for i := range fakeUsed {
		ram[(1000+i)*pageSize] = 1
	}
	var gpa []uint64
	for _, n := range fakeFilled {
		gpa = append(gpa, n*pageSize)
		fill(ram[n*pageSize:][:pageSize])
	}
	if slices.Contains(args, "copies") {
		fill(mem[:pageSize]) // a page that the VMM has read, say
	}
	if slices.Contains(args, "lies") {
		gpa[2] += pageSize
	}
	boot(os.Stdout)
	slices.Reverse(gpa) // the guest has them in no order
	frame(os.Stdout, job.FramePages, job.Pages{GPA: gpa})
	time.Sleep(100 * time.Millisecond)
	frame(os.Stdout, job.FrameDone, nil)
	hang()
}

func fill(page []byte) {
	for i := 0; i < len(page); i += 8 {
		binary.LittleEndian.PutUint64(page[i:], fakeNonce)
	}
}

// floods prints more than any queue holds, faster than it is read.
func floods([]string) {
	for range 20 {
		fmt.Print(strings.Repeat(strings.Repeat("x", 99)+"\n", 2000))
	}
	fmt.Print(strings.Repeat("no line end ", 10000))
	fmt.Println()
	boot(os.Stdout)
	frame(os.Stdout, job.FrameDone, nil)
}

// burns takes processor time.
func burns([]string) {
	boot(os.Stdout)
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
	}
	frame(os.Stdout, job.FrameDone, nil)
}

// tells prints its environment and files.
func tells(args []string) {
	boot(os.Stdout)
	b, err := os.ReadFile(args[0])
	fmt.Println("file:", string(b), err)
	fmt.Println("env:", os.Getenv("SHOT_WORD"))
	frame(os.Stdout, job.FrameDone, nil)
}
