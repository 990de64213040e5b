package vmm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/vmm"
)

// script writes a program that prints the file of testdata/version when it is
// called with the one word that asks for the version.
func script(t *testing.T, word, file string) string {
	t.Helper()
	printed, err := filepath.Abs(filepath.Join("testdata", "version", file))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "vmm")
	text := "#!/bin/sh\n[ \"$*\" = '" + word + "' ] && exec cat '" + printed + "'\necho \"unknown option $*\" >&2; exit 2\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	return path
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		driver vmm.Driver
		want   string
	}{
		{vmm.QEMU{Type: vmm.PC, Binary: script(t, "--version", "qemu-debian.txt")}, "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"},
		{vmm.QEMU{Type: vmm.PC, Binary: script(t, "--version", "qemu-ours.txt")}, "7.2.22 (virtlab, 1:7.2+dfsg-7+deb12u18)"},
		{vmm.StratoVirt{Binary: script(t, "-version", "stratovirt.txt")}, "2.5.0 commit-id unknown"},
		{vmm.Firecracker{Binary: script(t, "--version", "firecracker.txt")}, "1.17.0-dev"},
	} {
		got, err := vmm.Version(t.Context(), machine.Host, c.driver)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
}

func TestFirecrackerTakesBzImage(t *testing.T) {
	for version, want := range map[string]bool{
		"": false, "v1": false, "0.25.2": false, "1.9.1": false, "1.16.3": false, "1.17.0-dev": true, "1.20.0": true, "2.0.0": true,
	} {
		assert.Equal(t, want, vmm.FirecrackerTakesBzImage(version), version)
	}
}

func TestVersionOfWhatIsNone(t *testing.T) {
	test, err := os.Executable()
	require.NoError(t, err)
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o644))
	for _, c := range []struct {
		name   string
		driver vmm.Driver
		want   string
	}{
		{"another's words", vmm.QEMU{Type: vmm.PC, Binary: script(t, "--version", "stratovirt.txt")}, "qemu-pc: no version in"},
		{"another option", vmm.StratoVirt{Binary: script(t, "--version", "stratovirt.txt")}, "unknown option -version"},
		{"no program", vmm.Firecracker{Binary: "/nonexistent"}, "the version of firecracker: "},
		{"another Go program", vmm.GoKVM{Binary: test}, `gokvm: the binary is module "virtlab"`},
		{"no Go program", vmm.GoKVM{Binary: empty}, "the version of gokvm: "},
		{"no file", vmm.GoKVM{Binary: "/nonexistent"}, "the version of gokvm: "},
		{"a driver of another package", stranger{}, "stranger: nobody knows how to ask"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := vmm.Version(t.Context(), machine.Host, c.driver)
			assert.ErrorContains(t, err, c.want)
			assert.Empty(t, v)
		})
	}
}

// stranger is a driver that has no version.
type stranger struct{ vmm.Driver }

func (stranger) Name() string { return "stranger" }

func TestVersionEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmm")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := vmm.Version(ctx, machine.Host, vmm.StratoVirt{Binary: path})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestParseVersionOfGoKVM(t *testing.T) {
	b, err := os.ReadFile("testdata/version/gokvm.txt")
	require.NoError(t, err)
	v, err := vmm.ParseVersion(gokvm, string(b))
	require.NoError(t, err)
	assert.Equal(t, "v0.0.8-0.20231003020000-f53faca69d28", v)
}

func FuzzParseVersion(f *testing.F) {
	files, _ := filepath.Glob("testdata/version/*.txt")
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, printed string) {
		for _, d := range []vmm.Driver{qemu(vmm.PC), strato, gokvm, fire} {
			v, err := vmm.ParseVersion(d, printed)
			require.Equal(t, err != nil, v == "", "a version or an error")
			require.NotContains(t, v, "\n")
			require.True(t, strings.Contains(printed, v))
		}
	})
}
