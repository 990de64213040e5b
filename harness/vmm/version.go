package vmm

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"regexp"
	"runtime/debug"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Version asks the VMM's binary on m for its version: "7.2.22 (Debian
// 1:7.2+dfsg-7)", "2.5.0 commit-id unknown", "v0.0.8".
func Version(ctx context.Context, m machine.Machine, d Driver) (string, error) {
	v, ok := d.(versioned)
	if !ok {
		return "", unknownVersion(d)
	}
	printed, err := v.version(ctx, m)
	if err != nil {
		return "", fmt.Errorf("the version of %s: %w", d.Name(), err)
	}
	return v.parseVersion(printed)
}

// ParseVersion finds the version in what the VMM's binary says of itself: what it
// prints when asked, or for gokvm its build information (go version -m).
func ParseVersion(d Driver, printed string) (string, error) {
	v, ok := d.(versioned)
	if !ok {
		return "", unknownVersion(d)
	}
	return v.parseVersion(printed)
}

func unknownVersion(d Driver) error {
	return result.Errorf(result.Host, "%s: nobody knows how to ask for its version", d.Name())
}

// versioned is a driver that knows how to ask its VMM for its version.
type versioned interface {
	version(ctx context.Context, m machine.Machine) (printed string, err error)
	parseVersion(printed string) (string, error)
}

func (q QEMU) version(ctx context.Context, m machine.Machine) (string, error) {
	return machine.Run(ctx, m, q.Binary, "--version")
}

func (s StratoVirt) version(ctx context.Context, m machine.Machine) (string, error) {
	return machine.Run(ctx, m, s.Binary, "-version")
}

func (f Firecracker) version(ctx context.Context, m machine.Machine) (string, error) {
	return machine.Run(ctx, m, f.Binary, "--version")
}

// version reads what the Go linker wrote into the binary: gokvm itself has no
// word for it.
func (g GoKVM) version(ctx context.Context, m machine.Machine) (string, error) {
	b, err := m.ReadFile(ctx, g.Binary)
	if err != nil {
		return "", err
	}
	info, err := buildinfo.Read(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	return info.String(), nil
}

// The lines in which the VMMs name their version.
var (
	qemuVersion  = regexp.MustCompile(`(?m)^QEMU emulator version (\d\S*(?: \([^()]*\))?)\s*$`)
	stratVersion = regexp.MustCompile(`(?m)^StratoVirt (\d\S*(?: commit-id \S+)?)\s*$`)
	fireVersion  = regexp.MustCompile(`(?m)^Firecracker v(\d\S*)\s*$`)
)

func (q QEMU) parseVersion(printed string) (string, error) {
	return versionIn(q.Name(), qemuVersion, printed)
}

func (s StratoVirt) parseVersion(printed string) (string, error) {
	return versionIn(s.Name(), stratVersion, printed)
}

func (f Firecracker) parseVersion(printed string) (string, error) {
	return versionIn(f.Name(), fireVersion, printed)
}

func versionIn(name string, line *regexp.Regexp, printed string) (string, error) {
	m := line.FindStringSubmatch(printed)
	if m == nil {
		return "", result.Errorf(result.VMM, "%s: no version in %.200q", name, printed)
	}
	return m[1], nil
}

// goKVMModule is gokvm's module path.
const goKVMModule = "github.com/bobuhiro11/gokvm"

func (g GoKVM) parseVersion(printed string) (string, error) {
	info, err := debug.ParseBuildInfo(printed)
	if err != nil {
		return "", result.Errorf(result.VMM, "gokvm: its build information: %w", err)
	}
	if info.Main.Path != goKVMModule || info.Main.Version == "" {
		return "", result.Errorf(result.VMM, "gokvm: the binary is module %q, version %q", info.Main.Path, info.Main.Version)
	}
	return info.Main.Version, nil
}
