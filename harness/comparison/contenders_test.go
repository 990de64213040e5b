package comparison

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
	"virtlab/harness/build"
	"virtlab/harness/vmm"
)

// names are the contenders' names, those that are missing in brackets.
func names(all []contender) (out []string) {
	for _, c := range all {
		name := c.Name()
		if c.Missing != "" {
			name = "[" + name + "]"
		}
		out = append(out, name)
	}
	return out
}

func noFoundVMMs(t *testing.T) {
	t.Setenv("STRATOVIRT", "/nonexistent")
	t.Setenv("FIRECRACKER", "/nonexistent")
}

func TestContenders(t *testing.T) {
	noFoundVMMs(t)
	for _, tt := range []struct {
		name  string
		opts  Options
		accel vmm.Accel
		want  []string
	}{
		{"all under TCG", Options{VMMs: allVMMs}, vmm.TCG, []string{
			"vmm=qemu-pc/on=host", "vmm=qemu-microvm/on=host", "vmm=gokvm/on=L1", "[vmm=stratovirt/on=L1]", "[vmm=firecracker/on=L1]", "vmm=qemu-microvm/on=L1"}},
		{"all under KVM", Options{VMMs: allVMMs}, vmm.KVM, []string{
			"vmm=qemu-pc/on=host", "vmm=qemu-microvm/on=host", "vmm=gokvm/on=host", "[vmm=stratovirt/on=host]", "[vmm=firecracker/on=host]"}},
		{"nobody for L1", Options{VMMs: []string{"qemu-q35", "stratovirt"}}, vmm.TCG, []string{"vmm=qemu-q35/on=host", "[vmm=stratovirt/on=L1]"}},
		{"L1 only", Options{VMMs: allVMMs, On: onL1}, vmm.TCG, []string{
			"vmm=gokvm/on=L1", "[vmm=stratovirt/on=L1]", "[vmm=firecracker/on=L1]", "vmm=qemu-microvm/on=L1"}},
		{"wrapped once", Options{VMMs: []string{"qemu-microvm", "gokvm"}, Wraps: []Wrap{{VMM: "qemu-microvm", Argv: []string{"/bin/nice", "-5"}}}}, vmm.TCG, []string{
			"vmm=qemu-microvm/on=host", "vmm=gokvm/on=L1", "vmm=qemu-microvm/on=L1", "vmm=qemu-microvm+nice/on=host"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := contenders(t.Context(), tt.opts, tt.accel)
			require.NoError(t, err)
			assert.Equal(t, tt.want, names(all))
		})
	}
}

// Numbers from an emulated L1 are labelled, a missing VMM says where it was looked
// for, and what a VMM cannot be asked for has a reason.
func TestContendersSayWhy(t *testing.T) {
	noFoundVMMs(t)
	all, err := contenders(t.Context(), Options{VMMs: []string{"qemu-pc", "gokvm", "stratovirt"}}, vmm.TCG)
	require.NoError(t, err)
	pc, gokvm, strato := all[0], all[1], all[2]
	assert.Empty(t, pc.Label)
	assert.Equal(t, bench.Nested, gokvm.Label)
	assert.Contains(t, strato.Missing, "looked in $STRATOVIRT: ")
	assert.Contains(t, strato.Missing, "; its own documentation")
	assert.Contains(t, gokvm.Without[bench.FileIO], "interrupts")
	assert.Contains(t, gokvm.Without[bench.Instructions], "TCG does")
	assert.NotContains(t, pc.Without, bench.Instructions)
}

func TestContendersRefused(t *testing.T) {
	_, err := contenders(t.Context(), Options{VMMs: []string{"xen"}}, vmm.TCG)
	assert.ErrorContains(t, err, `there is no VMM "xen"`)
	_, err = contenders(t.Context(), Options{VMMs: []string{"qemu-pc"}, Wraps: []Wrap{{VMM: "gokvm", Argv: []string{"nice"}}}}, vmm.TCG)
	assert.ErrorContains(t, err, "not among those compared")
}

// The guest is the same for all: what differs is the VMM's own.
func TestConfig(t *testing.T) {
	noFoundVMMs(t)
	f := &field{on: onL1, assets: build.GuestAssets("/lab"), disk: "/scratch/disk", direct: true, vmlinux: "/vmms/boot/vmlinux"}
	all, err := contenders(t.Context(), Options{VMMs: []string{"qemu-microvm", "gokvm"}}, vmm.KVM)
	require.NoError(t, err)
	qemu, gokvm := all[0].config(f, "/d", bench.Boot), all[1].config(f, "/d", bench.Boot)
	assert.Equal(t, qemu.Cmdline, gokvm.Cmdline)
	assert.Equal(t, qemu.Kernel, gokvm.Kernel)
	assert.Equal(t, "/d/initramfs", qemu.Initramfs)
	assert.Equal(t, qemu.MemoryMiB, gokvm.MemoryMiB)
	assert.True(t, qemu.Disks[0].Direct)
	assert.False(t, gokvm.Disks[0].Direct, "it knows only the page cache")

	assert.NotContains(t, qemu.Cmdline, "virtlab.mount=/dev/vda:/lab")
	assert.Contains(t, all[0].config(f, "/d", bench.FileIO).Cmdline, "virtlab.mount=/dev/vda:/lab")
	debian := all[0].config(f, "/d", bench.Debian)
	assert.Empty(t, debian.Initramfs)
	assert.Contains(t, debian.Cmdline, "root=/dev/vda")
	counted := all[0].config(f, "/d", bench.Instructions)
	assert.NotEmpty(t, counted.ICount)
	assert.Equal(t, "/d/qmp", counted.Monitor)

	strato := contender{accel: vmm.KVM, driver: func(*field) vmm.Driver { return vmm.StratoVirt{Binary: "s"} }}
	assert.Equal(t, "/d/qmp", strato.config(f, "/d", bench.CPU).Monitor, "it does not start without one")
	fire := contender{accel: vmm.KVM, driver: func(*field) vmm.Driver { return vmm.Firecracker{Binary: "f"} }}
	assert.Equal(t, "/vmms/boot/vmlinux", fire.config(f, "/d", bench.CPU).Kernel, "it takes no bzImage")
	assert.NotEmpty(t, fire.config(f, "/d", bench.CPU).ConfigFile)
	fire.driver = func(*field) vmm.Driver { return vmm.Firecracker{Binary: "f", BzImage: true} }
	assert.Equal(t, qemu.Kernel, fire.config(f, "/d", bench.CPU).Kernel, "from 1.17 on it takes what all take")
}

// The manifest has the file that the VMM boots, as it lies on the host.
func TestKernelOnHost(t *testing.T) {
	host := &build.Assets{BzImage: "/cache/bzImage", Vmlinux: "/cache/vmlinux"}
	for bzImage, want := range map[bool]string{true: host.BzImage, false: host.Vmlinux} {
		fire := contender{accel: vmm.KVM, driver: func(*field) vmm.Driver { return vmm.Firecracker{Binary: "/v/fire", BzImage: bzImage} }}
		kernel, binary := fire.onHost(host)
		assert.Equal(t, want, kernel)
		assert.Equal(t, "/v/fire", binary)
	}
}

// A disk that a guest did not write to is not written anew.
func TestTemplate(t *testing.T) {
	f := &field{templates: map[bench.Part]string{bench.Boot: "/bench", bench.FileIO: "/bench", bench.Debian: "/debian"}}
	assert.Equal(t, "/bench", f.template(bench.Boot))
	f.written = "/bench"
	assert.Empty(t, f.template(bench.FileIO))
	assert.Equal(t, "/debian", f.template(bench.Debian))
}
