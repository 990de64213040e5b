package debian

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

var update = flag.Bool("update", false, "write the command lines to testdata")

func cloud(typ vmm.MachineType) Config {
	return Config{
		Name: "cloud", Disk: Disk{Path: "/images/debian-12.qcow2", Format: QCOW2, Root: "/dev/vda1"},
		QEMU:  vmm.QEMU{Type: typ, Binary: "qemu-system-x86_64", Firmware: "/q/firmware", TSCkHz: 2_000_000},
		Accel: vmm.TCG, VCPUs: 1, MemoryMiB: 1024,
	}
}

func TestCommandGoldens(t *testing.T) {
	q35 := cloud(vmm.Q35)
	q35.Accel, q35.VCPUs = vmm.KVM, 2
	micro := cloud(vmm.MicroVM)
	micro.Kernel = "/k/bzImage"
	ours := micro
	ours.QEMU.Type = vmm.PC
	ours.Disk = Disk{Path: "/cache/debian.ext4", Format: Raw, Root: "/dev/vda"}
	for name, c := range map[string]Config{"cloud-pc": cloud(vmm.PC), "cloud-q35-kvm": q35, "cloud-microvm": micro, "ours-pc": ours} {
		t.Run(name, func(t *testing.T) {
			argv, err := c.Command("/tmp/vl1/1")
			require.NoError(t, err)
			got := strings.Join(argv, "\n") + "\n"
			path := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(want), got, "run go test -update if this is meant")
		})
	}
}

// What every guest must have, whatever the golden says.
func TestCommandKeepsItsPromises(t *testing.T) {
	argv, err := cloud(vmm.PC).Command("/d")
	require.NoError(t, err)
	line := strings.Join(argv, " ")
	assert.Contains(t, line, "file=/images/debian-12.qcow2,snapshot=on", "the image is never written to")
	assert.Contains(t, line, "restrict=on", "no route out")
	assert.Contains(t, line, "hostfwd=tcp:127.0.0.1:0-:22", "a free port, of this machine only")
	assert.NotContains(t, argv, "-kernel", "the image's own boot loader")
	assert.NotContains(t, argv, "-append")
}

func TestCommandFaults(t *testing.T) {
	comma := cloud(vmm.PC)
	comma.Disk.Path = "/a,b"
	none := cloud(vmm.PC)
	none.VCPUs = 0
	for _, c := range []struct {
		config Config
		want   string
	}{
		{cloud(vmm.MicroVM), "microvm has no BIOS to start a boot loader"},
		{comma, `the path "/a,b" has a comma`},
		{none, "0 vCPUs"},
	} {
		_, err := c.config.Command("/d")
		require.ErrorContains(t, err, c.want)
		assert.Equal(t, result.Host, result.OwnerOf(err))
	}
}

// head is the beginning of a disk image, with bytes at places.
func head(at map[int]string) []byte {
	b := make([]byte, headLength)
	for i, s := range at {
		copy(b[i:], s)
	}
	return b
}

func TestRecognize(t *testing.T) {
	for _, c := range []struct {
		name string
		at   map[int]string
		want Disk
		err  string
	}{
		{"qcow2", map[int]string{0: "QFI\xfb\x00\x00\x00\x03"}, Disk{Format: QCOW2, Root: "/dev/vda1"}, ""},
		{"partitions", map[int]string{510: "\x55\xaa"}, Disk{Format: Raw, Root: "/dev/vda1"}, ""},
		{"a file system", map[int]string{ext4Magic: "\x53\xef"}, Disk{Format: Raw, Root: "/dev/vda"}, ""},
		{"a file system with a boot sector", map[int]string{510: "\x55\xaa", ext4Magic: "\x53\xef"}, Disk{Format: Raw, Root: "/dev/vda"}, ""},
		{"vmdk", map[int]string{0: "KDMV"}, Disk{}, "VMDK"},
		{"xz", map[int]string{0: "\xfd7zXZ\x00"}, Disk{}, "unpack it first"},
		{"empty", nil, Disk{}, "neither qcow2 nor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := recognize(head(c.at))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "disk.raw")
	require.NoError(t, os.WriteFile(good, head(map[int]string{510: "\x55\xaa"}), 0o644))
	d, err := Open(good)
	require.NoError(t, err)
	assert.Equal(t, Disk{Path: good, Format: Raw, Root: "/dev/vda1"}, d)

	short := filepath.Join(dir, "short")
	require.NoError(t, os.WriteFile(short, []byte("QFI\xfb"), 0o644))
	vmdk := filepath.Join(dir, "a disk.vmdk")
	require.NoError(t, os.WriteFile(vmdk, head(map[int]string{0: "KDMV"}), 0o644))
	for path, want := range map[string]string{
		short: "unexpected EOF", filepath.Join(dir, "none"): "no such file", vmdk: "qemu-img convert -O qcow2 '",
	} {
		_, err := Open(path)
		require.ErrorContains(t, err, want)
		assert.Equal(t, result.Host, result.OwnerOf(err))
	}
}

func FuzzRecognize(f *testing.F) {
	f.Add([]byte("QFI\xfb"))
	f.Add(head(map[int]string{ext4Magic: "\x53\xef"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := recognize(append(b, make([]byte, headLength)...)[:headLength])
		if err == nil {
			assert.NotEmpty(t, d.Root)
			assert.Contains(t, []Format{QCOW2, Raw}, d.Format)
		}
	})
}
