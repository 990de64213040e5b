package manifest

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/vmm"
)

// What the drivers write is read in full: an option that a driver spells anew
// would be unknown here.
func TestSetupOfEveryDriver(t *testing.T) {
	for _, tt := range []struct {
		driver vmm.Driver
		accel  vmm.Accel
		more   func(*vmm.Config)
	}{
		{vmm.QEMU{Type: vmm.PC, Binary: "qemu"}, vmm.TCG, func(c *vmm.Config) { c.Disks[0].Direct = true }},
		{vmm.QEMU{Type: vmm.MicroVM, Binary: "qemu"}, vmm.KVM, func(c *vmm.Config) { c.Disks[0].Direct = true }},
		{vmm.StratoVirt{Binary: "stratovirt"}, vmm.KVM, func(c *vmm.Config) { c.Disks[0].Direct, c.Monitor = true, "/t/qmp" }},
		{vmm.GoKVM{Binary: "gokvm"}, vmm.KVM, func(*vmm.Config) {}},
		{vmm.Firecracker{Binary: "firecracker"}, vmm.KVM, func(c *vmm.Config) { c.ConfigFile = "/t/fc.json" }},
	} {
		t.Run(tt.driver.Name(), func(t *testing.T) {
			c := vmm.Config{
				Accel: tt.accel, VCPUs: 1, MemoryMiB: 1024, Kernel: "/k/bzImage", Initramfs: "/k/initramfs",
				Disks: []vmm.Disk{{ID: "lab", Path: "/t/disk"}},
			}
			tt.more(&c)
			in := Input{VMM: tt.driver.Name(), VCPUs: 1}
			var err error
			in.Argv, err = tt.driver.Command(c)
			require.NoError(t, err)
			if f, ok := tt.driver.(vmm.Filer); ok {
				in.Files, err = f.Files(c)
				require.NoError(t, err)
			}
			s := reflect.ValueOf(in.setup())
			for i := range s.NumField() {
				assert.NotEmpty(t, s.Field(i).String(), s.Type().Field(i).Name)
			}
			if c.Disks[0].Direct {
				assert.Equal(t, direct, in.setup().cache)
			} else {
				assert.Equal(t, pageCache, in.setup().cache)
			}
			assert.Contains(t, in.setup().words, "console=ttyS0")
		})
	}
}
