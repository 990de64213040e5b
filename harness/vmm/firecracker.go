package vmm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"virtlab/harness/result"
)

// Firecracker is the driver of Firecracker (its docs/getting-started.md and
// src/firecracker/swagger/firecracker.yaml), configured by a file instead of its
// API socket.
//
// What a watchdog has to know: a reset ends the process with status 0 (seen with
// 1.17.0-dev), poweroff and halt leave it running, and a panic is a reset
// (panic=-1), as read. Its log shares standard output with the guest's console.
type Firecracker struct {
	Binary  string // a path on the machine that runs it
	BzImage bool   // it takes one: FirecrackerTakesBzImage
}

// FirecrackerTakesBzImage tells by its version whether a Firecracker boots a bzImage,
// the very file that the other VMMs boot: from 1.17 on (its CHANGELOG.md, #6037),
// on x86-64. Before that it takes an ELF kernel only.
func FirecrackerTakesBzImage(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return n == 2 && (major > 1 || major == 1 && minor >= 17)
}

// Name is "firecracker".
func (Firecracker) Name() string { return "firecracker" }

// Traits of Firecracker. Disks have no serial number of our choice.
func (f Firecracker) Traits() Traits {
	return Traits{
		KVMOnly: true, Console: Stdout, End: Reboot, BzImage: f.BzImage, Vmlinux: true,
		ReadOnly: true, Buffered: true, ConfigFile: true,
	}
}

// Command is the Firecracker command line for c; what it runs is in Files.
func (f Firecracker) Command(c Config) ([]string, error) {
	if err := f.validate(c); err != nil {
		return nil, err
	}
	return []string{f.Binary, "--no-api", "--config-file", c.ConfigFile}, nil
}

func (f Firecracker) validate(c Config) error {
	return errors.Join(c.Validate(), f.Traits().refuse(f.Name(), c), needBinary(f.Name(), f.Binary))
}

// fireConfig is the JSON of --config-file: the bodies of the API's requests, each
// under the name of its path.
type fireConfig struct {
	BootSource fireBoot    `json:"boot-source"`
	Drives     []fireDrive `json:"drives"`
	Machine    fireMachine `json:"machine-config"`
}

type fireBoot struct {
	Kernel string `json:"kernel_image_path"`
	Initrd string `json:"initrd_path,omitempty"`
	Args   string `json:"boot_args"`
}

type fireDrive struct {
	ID       string `json:"drive_id"`
	Path     string `json:"path_on_host"`
	Root     bool   `json:"is_root_device"` // adds root=/dev/vda to the words; they are ours
	ReadOnly bool   `json:"is_read_only"`
	// Cache "Writeback" obeys the guest's flushes, as the other VMMs do; the
	// default, "Unsafe", drops them.
	Cache string `json:"cache_type"`
}

type fireMachine struct {
	VCPUs int `json:"vcpu_count"`
	MiB   int `json:"mem_size_mib"`
}

// Files is the configuration file.
func (f Firecracker) Files(c Config) (map[string]string, error) {
	if err := f.validate(c); err != nil {
		return nil, err
	}
	cfg := fireConfig{
		BootSource: fireBoot{Kernel: c.Kernel, Initrd: c.Initramfs, Args: words(c)},
		Drives:     []fireDrive{},
		Machine:    fireMachine{VCPUs: c.VCPUs, MiB: c.MemoryMiB},
	}
	for _, d := range c.Disks {
		cfg.Drives = append(cfg.Drives, fireDrive{ID: d.ID, Path: d.Path, ReadOnly: d.ReadOnly, Cache: "Writeback"})
	}
	text, err := json.MarshalIndent(cfg, "", "\t")
	return map[string]string{c.ConfigFile: string(text) + "\n"}, err
}

// Explain names the owner of Firecracker's end.
func (f Firecracker) Explain(err error, stderr string) error {
	said := strings.TrimSpace(stderr)
	switch {
	case strings.Contains(said, "/dev/kvm") || strings.Contains(said, "Error creating KVM object"):
		return result.Errorf(result.Host, "firecracker: %s", said).WithHint("it needs a KVM: run it on L1, or give this user access to /dev/kvm")
	case err != nil || said != "":
		return ended(f.Name(), err, said)
	default:
		return nil
	}
}
