// Command guestinit is PID 1 of the small guest. It mounts what a Linux program
// expects, loads kernel modules in dependency order, serves SSH on a
// virtio-serial port and powers the machine off in order.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire"
	"virtlab/harness/guest/wire/boottime"
)

// tools are the guest's programs. PID 1 is the only file in the initramfs:
// started by another name it is one of these.
var tools = map[string]func(args []string) error{
	"dmesg":    func([]string) error { return dmesg(os.Stdout) },
	"mknod":    mknod,
	"modprobe": modprobe,
	"poweroff": func([]string) error { return unix.Kill(1, unix.SIGTERM) },
	"rmmod":    rmmod,
	"sleep":    sleep,
	"uname":    func([]string) error { return uname(os.Stdout) },
}

// inProcess are the tools that PID 1 runs itself when a client asks for them: they
// end at once, and starting another Go program takes an emulated CPU 15 to 40 ms.
var inProcess = map[string]func(args []string, w io.Writer) error{
	"dmesg": func(_ []string, w io.Writer) error { return dmesg(w) },
	"mknod": func(args []string, _ io.Writer) error { return mknod(args) },
	"uname": func(_ []string, w io.Writer) error { return uname(w) },
}

func main() {
	if tool := tools[filepath.Base(os.Args[0])]; tool != nil {
		exitWith(tool(os.Args[1:]))
	}
	if os.Getpid() != 1 {
		exitWith(fmt.Errorf("guestinit is PID 1 of a guest, not a program to run"))
	}
	// Collecting garbage costs an emulated CPU more than the memory is worth.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(48 << 20)
	words, err := readCommandLine()
	if err == nil {
		err = boot(words)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "virtlab: error:", err)
	}
	powerOff(words.value(wire.Off))
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// boot brings userspace up and stays until the guest is to end.
func boot(words commandLine) error {
	if err := mountSystem(); err != nil {
		return err
	}
	fmt.Println(wire.Marker)
	marked := boottime.Now()
	for _, spec := range words[wire.Mount] {
		if err := mountDisk(spec); err != nil {
			return err
		}
	}
	os.Setenv("PATH", "/bin:"+wire.ToolsDir+"/bin")
	os.Setenv("HOME", "/root")
	if line := words.value(wire.Run); line != "" {
		boottime.Pass(marked)
		return runOnce(strings.Split(line, ","))
	}
	return serve()
}

// commandLine is the kernel command line: words and their values, in order.
type commandLine map[string][]string

// value is the last value of a word, as the kernel has it for its own.
func (c commandLine) value(word string) string {
	if v := c[word]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

func parseCommandLine(line string) commandLine {
	words := commandLine{}
	for _, w := range strings.Fields(line) {
		k, v, _ := strings.Cut(w, "=")
		words[k] = append(words[k], v)
	}
	return words
}

// readCommandLine mounts /proc, where the command line is.
func readCommandLine() (commandLine, error) {
	if err := os.MkdirAll("/proc", 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return nil, fmt.Errorf("mounting /proc: %w", err)
	}
	b, err := os.ReadFile("/proc/cmdline")
	return parseCommandLine(string(b)), err
}

func mountSystem() error {
	for _, m := range []struct{ fstype, dir string }{
		{"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, m.dir, m.fstype, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mounting %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	if err := os.MkdirAll(wire.ModuleDir, 0o755); err != nil {
		return err
	}
	for tool := range tools {
		_ = os.MkdirAll("/bin", 0o755)
		if err := os.Symlink("/init", "/bin/"+tool); err != nil {
			return err
		}
	}
	return loopbackUp()
}

// runOnce runs one program with its output on the console. One of the guest's
// own runs in this process: starting a second one takes an emulated CPU 40 ms.
func runOnce(argv []string) error {
	if tool := tools[argv[0]]; tool != nil {
		return tool(argv[1:])
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// uname prints the kernel's name and release.
func uname(w io.Writer) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]))
	return err
}

// mknod makes a character device. One that is there stays.
func mknod(args []string) error {
	if len(args) != 4 || args[1] != "c" {
		return errors.New("usage: mknod PATH c MAJOR MINOR")
	}
	major, err := strconv.ParseUint(args[2], 10, 12) // as many bits as Linux has for them
	if err != nil {
		return fmt.Errorf("mknod: major number: %w", err)
	}
	minor, err := strconv.ParseUint(args[3], 10, 20)
	if err != nil {
		return fmt.Errorf("mknod: minor number: %w", err)
	}
	err = unix.Mknod(args[0], unix.S_IFCHR|0o666, int(unix.Mkdev(uint32(major), uint32(minor))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mknod: %s: %w", args[0], err)
	}
	return nil
}

// sleep sleeps for a number of seconds.
func sleep(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sleep SECONDS")
	}
	d, err := time.ParseDuration(args[0] + "s")
	time.Sleep(d)
	return err
}

// openPort opens the virtio-serial port that SSH runs over. Its node in /dev may
// appear while PID 1 already runs.
func openPort() (io.ReadWriteCloser, error) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		port, err := os.OpenFile(wire.PortDevice, os.O_RDWR, 0)
		switch {
		case err == nil:
			return port, nil
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		case time.Since(start) > deviceWait:
			return nil, fmt.Errorf("after %s there is no SSH port: %w", deviceWait, err)
		}
	}
}

// dmesg prints the kernel log (syslog(2), SYSLOG_ACTION_READ_ALL).
func dmesg(w io.Writer) error {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return err
	}
	buf := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err == nil {
		_, err = w.Write(buf[:n])
	}
	return err
}

// powerOff ends the machine; it never returns.
func powerOff(how string) {
	unix.Sync()
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	if how == "reboot" {
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	_ = unix.Reboot(cmd)
	select {}
}
