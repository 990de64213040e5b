package vmm_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

var (
	_ vmm.Driver = vmm.StratoVirt{}
	_ vmm.Driver = vmm.GoKVM{}
	_ vmm.Driver = vmm.Firecracker{}
	_ vmm.Filer  = vmm.Firecracker{}
)

var (
	strato = vmm.StratoVirt{Binary: "/v/stratovirt"}
	gokvm  = vmm.GoKVM{Binary: "/v/gokvm", TSCkHz: 2_600_000}
	fire   = vmm.Firecracker{Binary: "/v/firecracker"}
)

// compared is the least that d boots: the comparison's guest on KVM.
func compared(d vmm.Driver) vmm.Config {
	c := plain(vmm.KVM)
	c.Initramfs = "/k/initramfs.cpio"
	if d.Traits().NeedsMonitor {
		c.Monitor = "/tmp/vl1/qmp"
	}
	if d.Traits().Console == vmm.Socket {
		c.ConsoleSocket = "/tmp/vl1/console"
	}
	if d.Traits().ConfigFile {
		c.ConfigFile = "/tmp/vl1/vm.json"
	}
	return c
}

// job adds a disk and what the guest is to do.
func job(c vmm.Config, disks ...vmm.Disk) vmm.Config {
	c.MemoryMiB = 1024
	c.Disks = disks
	c.Cmdline = []string{"virtlab.mount=/dev/vda:/lab:ro", "virtlab.run=/lab/bin/guestjob,/dev/vda"}
	return c
}

func TestOtherCommandGoldens(t *testing.T) {
	onSocket := strato
	onSocket.On = vmm.Socket
	bench := vmm.Disk{ID: "data", Path: "/k/bench.img"}
	direct := vmm.Disk{ID: "data", Path: "/dev/vdb", Direct: true}
	tools := vmm.Disk{ID: "tools", Path: "/k/tools.img", ReadOnly: true}
	for name, c := range map[string]struct {
		driver vmm.Driver
		config vmm.Config
	}{
		"stratovirt":        {strato, compared(strato)},
		"stratovirt-job":    {strato, job(compared(strato), direct, tools)},
		"stratovirt-socket": {onSocket, job(compared(onSocket), bench)},
		"gokvm":             {vmm.GoKVM{Binary: "/v/gokvm"}, compared(gokvm)},
		"gokvm-job":         {gokvm, job(compared(gokvm), bench)},
		"firecracker":       {fire, compared(fire)},
		"firecracker-job":   {fire, job(compared(fire), bench, tools)},
	} {
		t.Run(name, func(t *testing.T) {
			argv, err := c.driver.Command(c.config)
			require.NoError(t, err)
			golden(t, filepath.Join("testdata", name+".golden"), strings.Join(argv, "\n")+"\n")
			again, err := c.driver.Command(c.config)
			require.NoError(t, err)
			assert.Equal(t, argv, again)
		})
	}
}

func TestFirecrackersConfigurationGolden(t *testing.T) {
	c := job(compared(fire), vmm.Disk{ID: "data", Path: "/k/bench.img"}, vmm.Disk{ID: "tools", Path: "/k/tools.img", ReadOnly: true})
	c.VCPUs = 2
	files, err := fire.Files(c)
	require.NoError(t, err)
	require.Len(t, files, 1)
	golden(t, filepath.Join("testdata", "firecracker.json"), files["/tmp/vl1/vm.json"])
	c.VCPUs = 0
	_, err = fire.Files(c)
	assert.ErrorContains(t, err, "0 vCPUs")
}

// The words of all are the same but for what each machine needs.
func TestWordsAreTheSameForAll(t *testing.T) {
	base := []string{"console=ttyS0", "quiet", "panic=-1", "oops=panic", "reboot=t", "lapic_khz=1000000"}
	for _, c := range []struct {
		driver vmm.Driver
		own    []string
	}{
		{qemu(vmm.MicroVM), nil},
		{strato, nil},
		{gokvm, []string{"noapic", "tsc_early_khz=2600000", "tsc=reliable"}},
	} {
		t.Run(c.driver.Name(), func(t *testing.T) {
			config := job(compared(c.driver))
			argv, err := c.driver.Command(config)
			require.NoError(t, err)
			at := slices.IndexFunc(argv, func(a string) bool { return strings.HasPrefix(a, "console=") })
			assert.Equal(t, slices.Concat(base, c.own, config.Cmdline), strings.Fields(argv[at]))
		})
	}
}

func TestBeyondTraits(t *testing.T) {
	for _, c := range []struct {
		name   string
		driver vmm.Driver
		change func(*vmm.Config)
		want   string
	}{
		{"stratovirt emulates", strato, func(c *vmm.Config) { c.Accel = vmm.TCG }, `stratovirt: accelerator "tcg": it runs on KVM only`},
		{"gokvm emulates", gokvm, func(c *vmm.Config) { c.Accel = vmm.TCG }, `gokvm: accelerator "tcg": it runs on KVM only`},
		{"firecracker emulates", fire, func(c *vmm.Config) { c.Accel = vmm.TCG }, `firecracker: accelerator "tcg"`},
		{"too little for stratovirt", strato, func(c *vmm.Config) { c.MemoryMiB = 127 }, `127 MiB of memory: it needs 128 at least`},
		{"too little for gokvm", gokvm, func(c *vmm.Config) { c.MemoryMiB = 255 }, `255 MiB of memory: it needs 256 at least`},
		{"too much for gokvm", gokvm, func(c *vmm.Config) { c.MemoryMiB = 3073 }, `3073 MiB of memory: it takes 3072 at most`},
		{"vCPUs of gokvm", gokvm, func(c *vmm.Config) { c.VCPUs = 2 }, `2 vCPUs: it takes 1 at most`},
		{"disks of stratovirt", strato, disks(5, vmm.Disk{}), `5 disks: it has room for 4`},
		{"disks of gokvm", gokvm, disks(2, vmm.Disk{}), `2 disks: it has room for 1`},
		{"gokvm and O_DIRECT", gokvm, disks(1, vmm.Disk{Direct: true}), `disk a with O_DIRECT: it goes through the page cache`},
		{"firecracker and O_DIRECT", fire, disks(1, vmm.Disk{Direct: true}), `disk a with O_DIRECT`},
		{"gokvm read-only", gokvm, disks(1, vmm.Disk{ReadOnly: true}), `disk a read-only: it opens disks for writing`},
		{"port of stratovirt", strato, func(c *vmm.Config) { c.Ports = []vmm.Port{{Name: "p", Socket: "/s"}} }, `virtio-serial ports: it has none`},
		{"no monitor for stratovirt", strato, func(c *vmm.Config) { c.Monitor = "" }, `no socket for its monitor, without which it does not start`},
		{"monitor of gokvm", gokvm, func(c *vmm.Config) { c.Monitor = "/q" }, `a monitor: it has no QMP`},
		{"console socket of gokvm", gokvm, func(c *vmm.Config) { c.ConsoleSocket = "/c" }, `a socket for the console, which it has on its pty`},
		{"console socket of QEMU", qemu(vmm.PC), func(c *vmm.Config) { c.ConsoleSocket = "/c" }, `a socket for the console, which it has on its stdout`},
		{"console socket of stratovirt on a pty", strato, func(c *vmm.Config) { c.ConsoleSocket = "/c" }, `a socket for the console`},
		{"no console socket", vmm.StratoVirt{Binary: "s", On: vmm.Socket}, func(c *vmm.Config) { c.ConsoleSocket = "" }, `no socket for the console`},
		{"long console socket", vmm.StratoVirt{Binary: "s", On: vmm.Socket}, func(c *vmm.Config) { c.ConsoleSocket = "/" + strings.Repeat("c", 107) }, `has 108 bytes, the limit is 107`},
		{"console on stdout", vmm.StratoVirt{Binary: "s", On: vmm.Stdout}, func(*vmm.Config) {}, `its console ends on pty or socket, not stdout`},
		{"no file for firecracker", fire, func(c *vmm.Config) { c.ConfigFile = "" }, `no path for its configuration file`},
		{"file for gokvm", gokvm, func(c *vmm.Config) { c.ConfigFile = "/f" }, `a configuration file: it has none`},
		{"CPU", strato, func(c *vmm.Config) { c.CPU = "max" }, `CPU "max": it has the host's only`},
		{"huge pages", gokvm, func(c *vmm.Config) { c.HugePages = true }, `huge pages for guest RAM: QEMU only`},
		{"devices", fire, func(c *vmm.Config) { c.Devices = []string{"edu"} }, `devices ["edu"]: QEMU only`},
		{"trace", strato, func(c *vmm.Config) { c.TraceFile = "/t" }, `a trace of device accesses: QEMU only`},
		{"no binary of stratovirt", vmm.StratoVirt{}, func(*vmm.Config) {}, `no binary of stratovirt` + "\n  what to do: its own documentation"},
		{"no binary of gokvm", vmm.GoKVM{}, func(*vmm.Config) {}, `no binary of gokvm` + "\n  what to do: run make setup"},
		{"no binary of firecracker", vmm.Firecracker{}, func(*vmm.Config) {}, `no binary of firecracker`},
		{"what nobody could run", strato, func(c *vmm.Config) { c.VCPUs = 0 }, `0 vCPUs`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.driver.Command(with(compared(c.driver), c.change))
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, result.Host, result.OwnerOf(err))
		})
	}
}

// disks asks for n disks like d.
func disks(n int, d vmm.Disk) func(*vmm.Config) {
	return func(c *vmm.Config) {
		for i := range n {
			d.ID = string(rune('a' + i))
			d.Path = "/d/" + d.ID
			c.Disks = append(c.Disks, d)
		}
	}
}

func TestAllThatIsBeyondTraitsAtOnce(t *testing.T) {
	c := compared(gokvm)
	c.Accel, c.CPU, c.HugePages = vmm.TCG, "max", true
	_, err := vmm.GoKVM{}.Command(c)
	for _, want := range []string{"accelerator", "CPU", "huge pages", "no binary"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestEnds(t *testing.T) {
	for want, drivers := range map[vmm.End][]vmm.Driver{
		vmm.PowerOff: {qemu(vmm.PC), qemu(vmm.Q35)},
		vmm.Reboot:   {qemu(vmm.MicroVM), strato, gokvm, fire},
	} {
		for _, d := range drivers {
			assert.Equal(t, want, d.Traits().End, d.Name())
		}
	}
}
