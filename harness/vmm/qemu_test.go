package vmm_test

import (
	"errors"
	"flag"
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

var update = flag.Bool("update", false, "write the command lines to testdata")

var _ vmm.Driver = vmm.QEMU{}

func qemu(typ vmm.MachineType) vmm.QEMU {
	return vmm.QEMU{Type: typ, Binary: "qemu-system-x86_64"}
}

// plain is the least that boots.
func plain(accel vmm.Accel) vmm.Config {
	return vmm.Config{Accel: accel, VCPUs: 1, MemoryMiB: 256, Kernel: "/k/bzImage"}
}

// full uses what can be used together on any machine type.
func full(accel vmm.Accel) vmm.Config {
	c := plain(accel)
	c.VCPUs, c.MemoryMiB = 2, 1024
	c.Initramfs = "/k/initramfs.cpio"
	c.Cmdline = []string{"virtlab.mount=tools:/lab", "nokaslr"}
	c.Disks = []vmm.Disk{
		{ID: "tools", Path: "/k/tools.img", ReadOnly: true},
		{ID: "data", Path: "/k/data.img", Direct: true},
	}
	c.Ports = []vmm.Port{{Name: "virtlab.ssh", Socket: "/tmp/vl1/ssh"}, {Name: "log", Socket: "/tmp/vl1/log"}}
	c.Monitor = "/tmp/vl1/qmp"
	return c
}

func with(c vmm.Config, change func(*vmm.Config)) vmm.Config {
	change(&c)
	return c
}

func TestCommandGoldens(t *testing.T) {
	microvm := qemu(vmm.MicroVM)
	microvm.TSCkHz = 2_000_000
	built := vmm.QEMU{Type: vmm.PC, Binary: "/cache/qemu/bin/qemu-system-x86_64", Firmware: "/cache/qemu/share"}
	for _, c := range []struct {
		name   string
		driver vmm.QEMU
		config vmm.Config
	}{
		{"pc-tcg", qemu(vmm.PC), plain(vmm.TCG)},
		{"pc-kvm", qemu(vmm.PC), plain(vmm.KVM)},
		{"pc-tcg-full", qemu(vmm.PC), full(vmm.TCG)},
		{"q35-tcg", qemu(vmm.Q35), plain(vmm.TCG)},
		{"q35-kvm-full", qemu(vmm.Q35), full(vmm.KVM)},
		{"microvm-tcg", microvm, plain(vmm.TCG)},
		{"microvm-kvm", microvm, plain(vmm.KVM)},
		{"microvm-tcg-full", microvm, full(vmm.TCG)},
		{"microvm-tcg-icount", microvm, with(plain(vmm.TCG), func(c *vmm.Config) { c.ICount = "shift=3,sleep=off" })},
		{"pc-edu-trace-icount", built, with(plain(vmm.TCG), func(c *vmm.Config) {
			c.Devices = []string{"edu", "virtio-rng-pci"}
			c.TraceFile = "/tmp/vl1/trace"
			c.ICount = "shift=3,sleep=off"
		})},
		{"pc-sandbox", vmm.QEMU{Type: vmm.PC, Binary: "/out/qemu-system-x86_64", Sandbox: true}, plain(vmm.TCG)},
		{"pc-hugepages-cpu", qemu(vmm.PC), with(plain(vmm.TCG), func(c *vmm.Config) {
			c.HugePages, c.CPU = true, "max,la57=off"
		})},
		{"microvm-hugepages-kvm", microvm, with(plain(vmm.KVM), func(c *vmm.Config) { c.HugePages = true })},
	} {
		t.Run(c.name, func(t *testing.T) {
			argv, err := c.driver.Command(c.config)
			require.NoError(t, err)
			golden(t, filepath.Join("testdata", c.name+".golden"), strings.Join(argv, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run go test -update if this is meant")
}

func TestCommandHasNoSideEffects(t *testing.T) {
	c := full(vmm.TCG)
	c.Ports = make([]vmm.Port, 1, 8) // room that append could write to
	c.Cmdline = append(make([]string, 0, 8), "a")
	first, err := qemu(vmm.PC).Command(c)
	require.NoError(t, err)
	_, err = qemu(vmm.MicroVM).Command(c)
	require.NoError(t, err)
	again, err := qemu(vmm.PC).Command(c)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	assert.Equal(t, []string{"a", ""}, c.Cmdline[:2])
}

func TestConfigFaults(t *testing.T) {
	long := "/tmp/" + strings.Repeat("d", 103) // 108 bytes: one too many for sun_path
	for _, c := range []struct {
		name   string
		change func(*vmm.Config)
		want   string
	}{
		{"accelerator", func(c *vmm.Config) { c.Accel = "xen" }, `accelerator "xen" is neither tcg nor kvm`},
		{"no accelerator", func(c *vmm.Config) { c.Accel = "" }, `accelerator "" is neither tcg nor kvm`},
		{"no vCPU", func(c *vmm.Config) { c.VCPUs = 0 }, `0 vCPUs`},
		{"negative vCPUs", func(c *vmm.Config) { c.VCPUs = -1 }, `-1 vCPUs`},
		{"memory", func(c *vmm.Config) { c.MemoryMiB = 31 }, `31 MiB of memory: Linux needs 32 at least`},
		{"kernel", func(c *vmm.Config) { c.Kernel = "" }, `no kernel`},
		{"icount with kvm", func(c *vmm.Config) { c.Accel, c.ICount = vmm.KVM, "shift=3" }, `icount with kvm: only TCG counts instructions`},
		{"icount with vCPUs", func(c *vmm.Config) { c.VCPUs, c.ICount = 2, "shift=3" }, `icount with 2 vCPUs: it runs them on one thread`},
		{"port socket too long", func(c *vmm.Config) { c.Ports = []vmm.Port{{Name: "p", Socket: long}} }, `the socket path ` + long + ` has 108 bytes, the limit is 107`},
		{"monitor socket too long", func(c *vmm.Config) { c.Monitor = long }, `the socket path ` + long + ` has 108 bytes, the limit is 107`},
		{"disk without ID", func(c *vmm.Config) { c.Disks = []vmm.Disk{{Path: "/d"}} }, `disk /d: its ID "" is not 1 to 20 letters, digits and dashes that begin with a letter`},
		{"disk with long ID", func(c *vmm.Config) { c.Disks = []vmm.Disk{{Path: "/d", ID: strings.Repeat("i", 21)}} }, `is not 1 to 20 letters, digits and dashes that begin with a letter`},
		{"disk ID with a space", func(c *vmm.Config) { c.Disks = []vmm.Disk{{Path: "/d", ID: "a b"}} }, `its ID "a b" is not`},
		{"two disks of one ID", func(c *vmm.Config) { c.Disks = []vmm.Disk{{Path: "/d", ID: "a"}, {Path: "/e", ID: "a"}} }, `two disks have the ID "a"`},
		{"odd memory in huge pages", func(c *vmm.Config) { c.MemoryMiB, c.HugePages = 255, true }, `255 MiB of memory do not fit huge pages of 2 MiB`},
		{"comma in a port's name", func(c *vmm.Config) { c.Ports = []vmm.Port{{Name: "a,b", Socket: "/s"}} }, `the path "a,b" has a comma`},
		{"comma in a disk", func(c *vmm.Config) { c.Disks = []vmm.Disk{{ID: "d", Path: "/a,b"}} }, `the path "/a,b" has a comma or line break, which QEMU's options cannot carry`},
		{"line break in a socket", func(c *vmm.Config) { c.Ports = []vmm.Port{{Socket: "/a\nb"}} }, `the path "/a\nb" has a comma or line break`},
		{"comma in the monitor", func(c *vmm.Config) { c.Monitor = "/a,b" }, `the path "/a,b" has a comma`},
		{"comma in the trace", func(c *vmm.Config) { c.TraceFile = "a,b" }, `the path "a,b" has a comma`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := qemu(vmm.PC).Command(with(plain(vmm.TCG), c.change))
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "host: virtual machine configuration: ")
			assert.Equal(t, result.Host, result.OwnerOf(err))
		})
	}
}

func TestConfigAtItsLimits(t *testing.T) {
	c := plain(vmm.TCG)
	c.MemoryMiB = 32
	c.Monitor = "/tmp/" + strings.Repeat("d", 102)
	c.Disks = []vmm.Disk{{ID: strings.Repeat("i", 20), Path: "/d"}}
	_, err := qemu(vmm.PC).Command(c)
	assert.NoError(t, err)
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := vmm.QEMU{Type: "pc98"}.Command(vmm.Config{})
	require.Error(t, err)
	for _, want := range []string{"accelerator", "0 vCPUs", "0 MiB", "no kernel", `machine type "pc98" is none of pc, q35, microvm`} {
		assert.ErrorContains(t, err, want)
	}
}

func TestDriverFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		driver vmm.QEMU
		device string
		want   string
	}{
		{"type", vmm.QEMU{Type: "", Binary: "q"}, "", `machine type "" is none of pc, q35, microvm`},
		{"binary", vmm.QEMU{Type: vmm.PC}, "", "no QEMU binary\n  what to do: run make setup, which builds one"},
		{"edu without PCI", qemu(vmm.MicroVM), "edu,dma_mask=0xffffffff", "device edu,dma_mask=0xffffffff: microvm has no PCI bus"},
		{"virtio without PCI", qemu(vmm.MicroVM), "virtio-rng-pci", "device virtio-rng-pci: microvm has no PCI bus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := plain(vmm.TCG)
			if c.device != "" {
				config.Devices = []string{c.device}
			}
			_, err := c.driver.Command(config)
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, result.Host, result.OwnerOf(err))
		})
	}
}

// The texts are QEMU 7.2's; see testdata/README.md.
func TestExplain(t *testing.T) {
	one := &machine.ExitError{Status: 1}
	for _, c := range []struct {
		name   string
		err    error
		stderr string
		owner  result.Owner
		want   []string
	}{
		{"no access to /dev/kvm", one,
			"Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied\n",
			result.Host, []string{"Permission denied", "use -accel tcg, or give this user access to /dev/kvm"}},
		{"no /dev/kvm", one,
			"Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: No such file or directory\n",
			result.Host, []string{"No such file or directory", "use -accel tcg"}},
		{"a KVM without the MSR: QEMU aborts", &machine.ExitError{Status: -1, Signal: "aborted"},
			"qemu-system-x86_64: error: failed to set MSR 0x10a to 0x0\nqemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.\n",
			result.Host, []string{"MSR 0x10a", "-cpu host,-arch-capabilities"}},
		{"no such device", one, "qemu-system-x86_64: -device nosuch: 'nosuch' is not a valid device model name\n",
			result.VMM, []string{"qemu-pc ended: exit status 1", "'nosuch' is not a valid device model name"}},
		{"no kernel file", one, "qemu: could not open kernel file '/nonexistent': No such file or directory\n",
			result.VMM, []string{"could not open kernel file '/nonexistent'"}},
		{"no disk", one, "qemu-system-x86_64: -drive if=none,id=a,format=raw,file=/nonexistent: Could not open '/nonexistent': No such file or directory\n",
			result.VMM, []string{"Could not open '/nonexistent'"}},
		{"killed", &machine.ExitError{Status: -1, Signal: "killed"}, "",
			result.VMM, []string{"qemu-pc was ended by signal: killed"}},
		{"ended by SIGTERM, status 0", nil, "qemu-system-x86_64: terminating on signal 15 from pid 6778 (timeout)\n",
			result.VMM, []string{"ended with status 0", "terminating on signal 15"}},
		{"lost", errors.New("connection lost"), "", result.VMM, []string{"qemu-pc ended: connection lost"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := qemu(vmm.PC).Explain(c.err, c.stderr)
			require.Error(t, err)
			assert.Equal(t, c.owner, result.OwnerOf(err))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestExplainKeepsTheCause(t *testing.T) {
	exit := &machine.ExitError{Status: -1, Signal: "killed"}
	assert.ErrorIs(t, qemu(vmm.PC).Explain(exit, ""), exit)
}

func TestExplainOfAGoodEnd(t *testing.T) {
	assert.NoError(t, qemu(vmm.PC).Explain(nil, ""))
	assert.NoError(t, qemu(vmm.PC).Explain(nil, " \n"))
	assert.NoError(t, qemu(vmm.PC).Explain(nil,
		"qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.01H:ECX.pcid [bit 17]\n"+
			"qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.07H:EBX.hle [bit 4]\n"),
		"QEMU runs on after a warning")
}

func TestName(t *testing.T) {
	assert.Equal(t, "qemu-pc", qemu(vmm.PC).Name())
	assert.Equal(t, "qemu-q35", qemu(vmm.Q35).Name())
	assert.Equal(t, "qemu-microvm", qemu(vmm.MicroVM).Name())
}
