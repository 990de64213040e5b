// Package wire is what a guest's PID 1 and the harness outside agree on: the
// port they meet at, the words on the kernel command line, and the SSH
// algorithms both sides use.
package wire

import "golang.org/x/crypto/ssh"

// Port is the name of the virtio-serial port that carries SSH. It shows up in
// the guest as /sys/class/virtio-ports/*/name.
const Port = "virtlab.ssh"

// PortDevice is where PID 1 finds it: port 1 of the first virtio-serial device, as
// the harness gives it before all others and number 0 is kept for a console
// (virtio 1.2, 5.3). To look for its name in sysfs takes an emulated CPU 15 to
// 20 ms at every boot.
const PortDevice = "/dev/vport0p1"

// Words on the kernel command line that PID 1 obeys. The kernel hands unknown
// words with a dot to modules that do not exist, so they do no harm.
const (
	// Mount mounts a disk, named by its serial number, before anything else:
	// "virtlab.mount=tools:/lab". Some VMMs give their disks no serial number:
	// "virtlab.mount=/dev/vda:/lab". With ":ro" behind the directory the disk is
	// not written to. The word may come more than once.
	Mount = "virtlab.mount"
	// Run runs a program, prints what it prints and powers off:
	// "virtlab.run=uname,-r". The program has the time of the marker in its
	// environment (package boottime). Without the word PID 1 serves SSH.
	Run = "virtlab.run"
	// Off says how the machine is to end: "poweroff" or "reboot". A microvm
	// ends quickest by a reset under QEMU's -no-reboot; pc by ACPI.
	Off = "virtlab.off"
)

// ToolsDir is where the tools disk is mounted.
const ToolsDir = "/lab"

// ModuleDir is where PID 1 looks for kernel modules besides the tools disk; it
// makes the directory.
const ModuleDir = "/tmp/modules"

// Marker is what PID 1 prints on the console once it runs, so that a hang of
// the kernel can be told from a hang of its programs.
const Marker = "virtlab: init"

// Algorithms is the one set both sides offer. The wire is a private unix socket
// to a machine that we started, so nothing rests on its cryptography: what
// counts is that an emulated CPU gets through the handshake quickly. Without
// this choice x/crypto/ssh begins with ML-KEM.
func Algorithms() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeCurve25519},
		Ciphers:      []string{ssh.CipherChaCha20Poly1305},
	}
}
