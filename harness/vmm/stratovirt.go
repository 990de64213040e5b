package vmm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"virtlab/harness/result"
)

// StratoVirt is the driver of StratoVirt's microvm machine (2.5; its
// docs/config_guidebook.md).
//
// What a watchdog has to know, as seen with 2.5.0:
//   - A reset by triple fault ends the process with status 0, and so does a
//     guest's panic, its crash, or a kernel of a wrong format. The status proves
//     nothing; the guest has to say that it is done.
//   - Any other reset, poweroff and halt leave the process running, and
//     query-status answers "running".
//   - After KVM_EXIT_INTERNAL_ERROR the vCPU's thread ends and the process stays.
//   - Its seccomp filter lacks what its own "stop" command needs: after "stop" the
//     process ends with status 1.
//   - SIGKILL leaves the monitor's socket behind.
type StratoVirt struct {
	Binary string // a path on the machine that runs it
	// On is where the console ends, PTY if empty. On Socket it loses what the guest
	// prints before a client is connected; PTY loses nothing.
	On Console
}

// Name is "stratovirt".
func (StratoVirt) Name() string { return "stratovirt" }

// Traits of StratoVirt. It adds four empty virtio-blk disks and two network
// devices to every microvm, which disks of the configuration replace. Its
// virtio-serial device has port 0 only, which is a console's (virtio 1.2, 5.3.5).
func (s StratoVirt) Traits() Traits {
	t := Traits{
		KVMOnly: true, Console: PTY, End: Reboot, BzImage: true, MinMiB: 128,
		MaxDisks: 4, Serials: true, ReadOnly: true, Direct: true, Buffered: true,
		Monitor: true, NeedsMonitor: true,
	}
	if s.On != "" {
		t.Console = s.On
	}
	return t
}

// Command is the StratoVirt command line for c.
func (s StratoVirt) Command(c Config) ([]string, error) {
	if err := errors.Join(c.Validate(), s.Traits().refuse(s.Name(), c), s.validate()); err != nil {
		return nil, err
	}
	a := []string{s.Binary, "-machine", "microvm", "-cpu", "host",
		"-smp", fmt.Sprint(c.VCPUs), "-m", fmt.Sprintf("%dM", c.MemoryMiB),
		"-kernel", c.Kernel, "-append", words(c)}
	if c.Initramfs != "" {
		a = append(a, "-initrd", c.Initramfs)
	}
	a = append(a, "-qmp", "unix:"+c.Monitor+",server,nowait", "-serial", s.serial(c))
	for _, d := range c.Disks {
		a = append(a, "-drive", stratoDrive(d), "-device", fmt.Sprintf("virtio-blk-device,id=%s,drive=%[1]s,serial=%[1]s", d.ID))
	}
	return a, nil
}

func (s StratoVirt) validate() error {
	switch s.On {
	case "", PTY, Socket:
		return needBinary(s.Name(), s.Binary)
	default:
		return result.Errorf(result.Host, "stratovirt: its console ends on pty or socket, not %s", s.On)
	}
}

func (s StratoVirt) serial(c Config) string {
	if c.ConsoleSocket != "" {
		return "socket,path=" + c.ConsoleSocket + ",server,nowait"
	}
	return "stdio"
}

// stratoDrive is a -drive. StratoVirt opens disks with O_DIRECT unless told
// otherwise, and takes native AIO with it only.
func stratoDrive(d Disk) string {
	drive := fmt.Sprintf("id=%s,file=%s", d.ID, d.Path)
	if d.ReadOnly {
		drive += ",readonly=on"
	}
	if d.Direct {
		return drive + ",direct=on,aio=native"
	}
	return drive + ",direct=off,aio=off"
}

// Explain names the owner of StratoVirt's end.
func (s StratoVirt) Explain(err error, stderr string) error {
	said := stratoFaults(stderr)
	switch {
	case strings.Contains(said, "/dev/kvm") || strings.Contains(said, "Failed to create VM in KVM"):
		return result.Errorf(result.Host, "stratovirt: %s", said).WithHint("it needs a KVM: run it on L1, or give this user access to /dev/kvm")
	case strings.Contains(said, "raw mode") && strings.Contains(said, "Inappropriate ioctl"):
		return result.Errorf(result.Host, "stratovirt: %s", said).WithHint("its console wants a terminal: start it on a pty (shot.PTY)")
	case strings.Contains(said, "failed to open the file for block") && strings.Contains(said, "Invalid argument"):
		return result.Errorf(result.Host, "stratovirt: %s", said).WithHint("the disk's file system knows no O_DIRECT (tmpfs does not): put the disk elsewhere, or leave Direct out")
	case strings.Contains(said, "seccomp violation"):
		return result.Errorf(result.VMM, "stratovirt: %s", said).WithHint("its filter lacks a system call that it needs; the monitor's stop command is one such case")
	case err != nil || said != "":
		return ended(s.Name(), err, said)
	default:
		return nil
	}
}

// stratoLine is a line of StratoVirt's log: time, thread, place, level.
var stratoLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[0-9:.]+ *: (?:\[[^\]]*\])+:(TRACE|DEBUG|INFO|WARN|ERROR): `)

// stratoFaults is what StratoVirt says on stderr without the log of what went
// well: errors with their causes, and lines that are no part of the log.
func stratoFaults(stderr string) string {
	var out []string
	wanted := true
	for line := range strings.Lines(stderr) {
		line = strings.TrimRight(line, "\r\n")
		if m := stratoLine.FindStringSubmatchIndex(line); m != nil {
			wanted = line[m[2]:m[3]] == "ERROR"
			line = line[m[1]:]
		} else if !stratoCause.MatchString(line) {
			wanted = true
		}
		if wanted && strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// stratoCause is a line that goes on with the error above it.
var stratoCause = regexp.MustCompile(`^(?:\s|Caused by:|$)`)
