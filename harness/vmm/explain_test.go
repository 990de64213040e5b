package vmm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

func said(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "stderr", name+".txt"))
	require.NoError(t, err)
	return string(b)
}

// The texts are the VMMs' own; see testdata/README.md.
func TestExplainOthers(t *testing.T) {
	one := &machine.ExitError{Status: 1}
	for _, c := range []struct {
		stderr string
		driver vmm.Driver
		owner  result.Owner
		want   []string
	}{
		{"stratovirt-no-kvm", strato, result.Host, []string{"Failed to open /dev/kvm", "run it on L1"}},
		{"stratovirt-not-kvm", strato, result.Host, []string{"Failed to create VM in KVM", "run it on L1"}},
		{"stratovirt-no-terminal", strato, result.Host, []string{"Failed to set terminal to raw mode", "start it on a pty"}},
		{"stratovirt-tmpfs", strato, result.Host, []string{"/tmp/d.img. Error: Invalid argument", "no O_DIRECT"}},
		{"stratovirt-stop", strato, result.VMM, []string{"seccomp violation", "bad system call, number: 230", "stop command"}},
		{"stratovirt-no-kernel", strato, result.VMM, []string{"stratovirt ended: exit status 1", "Input kernel_file is not a regular File"}},
		{"stratovirt-no-disk", strato, result.VMM, []string{"Failed to get metadata of file /nonexistent"}},
		{"stratovirt-small", strato, result.VMM, []string{"should in range of [134217728, 549755813888] bytes"}},
		{"stratovirt-port", strato, result.VMM, []string{"virtio serial port nr 1 should be less than"}},
		{"gokvm-no-kvm", gokvm, result.Host, []string{"open /dev/kvm: no such file", "run it on L1"}},
		{"gokvm-not-kvm", gokvm, result.Host, []string{"CreateVM: inappropriate ioctl", "run it on L1"}},
		{"gokvm-no-kernel", gokvm, result.VMM, []string{"gokvm ended: exit status 1", "open /nonexistent: no such file"}},
		{"gokvm-no-image", gokvm, result.VMM, []string{"signature not match in bzImage"}},
		{"gokvm-no-terminal", gokvm, result.Host, []string{"this is not terminal", "start it on a pty"}},
	} {
		t.Run(c.stderr, func(t *testing.T) {
			err := c.driver.Explain(one, said(t, c.stderr))
			require.Error(t, err)
			assert.Equal(t, c.owner, result.OwnerOf(err))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "INFO", "the log of what went well")
		})
	}
}

// StratoVirt writes tens of lines about a machine that runs well.
func TestExplainOfStratoVirtThatIsWell(t *testing.T) {
	well := said(t, "stratovirt-well")
	require.Contains(t, well, "INFO")
	require.Contains(t, well, "WARN")
	assert.NoError(t, strato.Explain(nil, well))
	killed := &machine.ExitError{Status: -1, Signal: "killed"}
	err := strato.Explain(killed, well)
	assert.ErrorIs(t, err, killed)
	assert.ErrorContains(t, err, `stratovirt ended: ended by signal: killed; it said: ""`)
}

func TestExplainOfAGoodEndForAll(t *testing.T) {
	for _, d := range []vmm.Driver{strato, gokvm, fire} {
		assert.NoError(t, d.Explain(nil, ""), d.Name())
		assert.NoError(t, d.Explain(nil, "\r\n"), d.Name())
		assert.ErrorContains(t, d.Explain(nil, "it broke"), d.Name()+` ended with status 0; it said: "it broke"`)
	}
}

// A VMM's stderr is whatever it is; an error that comes in always comes out.
func FuzzExplain(f *testing.F) {
	files, _ := filepath.Glob("testdata/stderr/*.txt")
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(string(b))
	}
	f.Add("qemu-system-x86_64: warning: x\n")
	f.Fuzz(func(t *testing.T, stderr string) {
		exit := &machine.ExitError{Status: 1}
		for _, d := range []vmm.Driver{qemu(vmm.PC), strato, gokvm, fire} {
			err := d.Explain(exit, stderr)
			require.Error(t, err)
			require.Contains(t, []result.Owner{result.Host, result.VMM}, result.OwnerOf(err))
			require.True(t, strings.Contains(err.Error(), d.Name()), "it names the VMM")
		}
	})
}
