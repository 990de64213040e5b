package manifest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
)

var update = flag.Bool("update", false, "write the sides to testdata")

// machine is a machine with the files in testdata/host, each named by its path
// with dashes for slashes.
func machineFiles(path string) ([]byte, error) {
	return os.ReadFile(filepath.Join("testdata", "host", strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "-")))
}

func noFiles(path string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("no such file")}
}

const words = "console=ttyS0 quiet panic=-1 oops=panic reboot=t"

// inputs are contenders as the drivers of package vmm start them.
func inputs() map[string]Input {
	argv := map[string]string{
		"qemu-pc": "qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine pc -accel tcg -cpu max -smp 1 -m 1024M " +
			"-kernel /k/bzImage -append {words} -initrd /k/initramfs -chardev stdio,id=console,signal=off -serial chardev:console " +
			"-device virtio-serial-pci,max_ports=2,disable-legacy=on,vectors=0 -chardev socket,id=port0,server=on,wait=off,path=/t/p0 -device virtserialport,chardev=port0,name=ssh " +
			"-drive if=none,id=lab,format=raw,file=/t/disk,cache.direct=on,aio=native -device virtio-blk-pci,drive=lab,serial=lab",
		"qemu-microvm": "qemu-system-x86_64 -nodefaults -machine microvm,rtc=on,isa-serial=on,auto-kernel-cmdline=on,memory-backend=ram -accel kvm,kernel-irqchip=split -cpu host " +
			"-sandbox on,obsolete=deny -smp 2 -m 1024M -object memory-backend-memfd,id=ram,size=1024M,hugetlb=on,hugetlbsize=2M,prealloc=on -kernel /k/bzImage -append {words} " +
			"-drive if=none,id=lab,format=raw,file=/t/disk,cache=writethrough -device virtio-blk-device,drive=lab,serial=lab",
		"stratovirt": "stratovirt -machine microvm -cpu host -smp 1 -m 1024M -kernel /k/bzImage -append {words} -initrd /k/initramfs " +
			"-qmp unix:/t/qmp,server,nowait -serial stdio -drive id=lab,file=/t/disk,direct=on,aio=native -device virtio-blk-device,id=lab,drive=lab,serial=lab",
		"gokvm":       "gokvm boot -c 1 -m 1024M -k /k/bzImage -p {gokvm} -i /k/initramfs -d /t/disk",
		"firecracker": "firecracker --no-api --config-file /t/fc.json",
	}
	all := map[string]Input{}
	for name, line := range argv {
		in := Input{
			VMM: name, On: "L1", Label: bench.Nested, Version: name + " 1.0", Argv: strings.Fields(line),
			Binary:      File{Path: "/bin/" + name, SHA256: strings.Repeat("ab", 32), Bytes: 1 << 20},
			Kernel:      File{Path: "/k/bzImage", SHA256: strings.Repeat("cd", 32), Bytes: 2 << 20},
			Images:      []Image{{DiskImage, File{Path: "/t/disk", SHA256: strings.Repeat("ef", 32), Bytes: 64 << 20}}, {Initramfs, File{}}},
			GuestKernel: "6.1.192-lab", KernelConfig: "CONFIG_HZ_250=y\n# CONFIG_HZ_1000 is not set\nCONFIG_HZ=250\n", Sysbench: "sysbench 1.0.20",
			MemoryMiB: 1024, VCPUs: 1, Work: []Entry{{Key: "data set", Value: "64 MiB, O_DIRECT"}, {Key: "sync", Value: "none during the run"}},
		}
		for i, w := range in.Argv {
			switch w {
			case "{words}":
				in.Argv[i] = words
			case "{gokvm}":
				in.Argv[i] = words + " noapic tsc_early_khz=2600000"
			}
		}
		all[name] = in
	}
	fc := all["firecracker"]
	fc.Files = map[string]string{"/t/fc.json": `{"boot-source": {"kernel_image_path": "/k/bzImage", "boot_args": "` + words + `"},
"drives": [{"drive_id": "lab", "path_on_host": "/t/disk", "is_root_device": false, "is_read_only": false, "cache_type": "Writeback"}],
"machine-config": {"vcpu_count": 1, "mem_size_mib": 1024}}`}
	all["firecracker"] = fc
	return all
}

func TestDescribe(t *testing.T) {
	for name, in := range inputs() {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for _, e := range Describe(in, machineFiles).Entries {
				fmt.Fprintf(&text, "%s | %s | %s\n", e.Group, e.Key, e.Value)
			}
			golden(t, filepath.Join("testdata", name+".golden"), text.String())
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

// Group and key find an entry, so no two may share them.
func TestEntriesAreUnique(t *testing.T) {
	for name, in := range inputs() {
		seen := map[[2]string]bool{}
		for _, e := range Describe(in, machineFiles).Entries {
			id := [2]string{e.Group, e.Key}
			assert.False(t, seen[id], "%s: %v twice", name, id)
			assert.NotEmpty(t, e.Value, "%s: %v", name, id)
			seen[id] = true
		}
	}
}

func TestDescribeWhatIsNotKnown(t *testing.T) {
	s := Describe(Input{VMM: "another", On: "host"}, noFiles)
	assert.Equal(t, "host", s.Get(Host, "machine"))
	assert.Equal(t, "not shown", s.Get(Host, "governor"))
	assert.Equal(t, unknown, s.Get(Disk, "cache"))
	assert.Equal(t, unknown, s.Get(Guest, "HZ"))
	assert.Equal(t, "none", s.Get(Guest, "kernel"))
	assert.Empty(t, s.Get(Guest, Initramfs))
	assert.Empty(t, s.Get(Guest, "no such key"))
}

func TestSetup(t *testing.T) {
	drive := func(opts string) []string {
		return []string{"-machine", "pc", "-accel", "kvm", "-drive", "id=x,file=/d" + opts, "-device", "virtio-blk-pci,drive=x"}
	}
	for _, tt := range []struct {
		name string
		in   Input
		want func(setup) string
		text string
	}{
		{"cache=none", Input{VMM: "qemu-pc", Argv: drive(",cache=none")}, func(s setup) string { return s.cache }, direct},
		{"default", Input{VMM: "qemu-pc", Argv: drive("")}, func(s setup) string { return s.cache + ", " + s.aio + ", " + s.sync }, pageCache + ", threads, " + onFlush},
		{"unsafe", Input{VMM: "qemu-pc", Argv: drive(",cache=unsafe")}, func(s setup) string { return s.sync }, "never"},
		{"directsync", Input{VMM: "qemu-pc", Argv: drive(",cache=directsync")}, func(s setup) string { return s.cache + ", " + s.sync }, direct + ", after each write"},
		{"a queue a vCPU on PCI", Input{VMM: "qemu-pc", VCPUs: 4, Argv: drive("")}, func(s setup) string { return s.queues }, "4"},
		{"irqchip off", Input{VMM: "qemu-pc", Argv: []string{"-machine", "pc,kernel-irqchip=off", "-accel", "kvm"}}, func(s setup) string { return s.irqchip }, "all in QEMU"},
		{"no disk", Input{VMM: "qemu-pc", Argv: []string{"-machine", "pc"}}, func(s setup) string { return s.cache }, ""},
		{"StratoVirt buffered", Input{VMM: "stratovirt", Argv: []string{"-drive", "id=x,file=/d,direct=false", "-device", "virtio-blk-device,drive=x"}}, func(s setup) string { return s.cache + ", " + s.aio }, pageCache + ", " + oneByOne},
		{"StratoVirt by default", Input{VMM: "stratovirt", VCPUs: 2, Argv: []string{"-drive", "id=x,file=/d", "-device", "virtio-blk-device,drive=x"}}, func(s setup) string { return s.cache + ", " + s.aio + ", " + s.queues }, direct + ", native, 2"},
		{"StratoVirt without seccomp", Input{VMM: "stratovirt", Argv: []string{"-disable-seccomp"}}, func(s setup) string { return s.seccomp }, "off"},
		{"StratoVirt's shared RAM", Input{VMM: "stratovirt", Argv: []string{"-machine", "q35,mem-share=on"}}, func(s setup) string { return s.mapping + ", " + s.bus }, "memfd, shared, PCI"},
		{"gokvm's long options", Input{VMM: "gokvm", Argv: []string{"--params=a b", "--disk", "/d"}}, func(s setup) string { return s.words + ", " + s.queues }, "a b, 1"},
		{"Firecracker's defaults", Input{VMM: "firecracker", Argv: []string{"--config-file=/f", "--no-seccomp"}, Files: map[string]string{"/f": `{"drives":[{}],"machine-config":{"huge_pages":"2M"}}`}}, func(s setup) string { return s.sync + ", " + s.aio + ", " + s.seccomp + ", " + s.hugePages }, "never, " + oneByOne + ", off, hugetlb 2M"},
		{"Firecracker's file missing", Input{VMM: "firecracker", Argv: []string{"--config-file=/f"}}, func(s setup) string { return s.bus }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.text, tt.want(tt.in.setup())) })
	}
}

func TestDifferences(t *testing.T) {
	side := func(name string) Side { return Describe(inputs()[name], machineFiles) }
	sv, gk := side("stratovirt"), side("gokvm")
	assert.Empty(t, Differences(sv, sv))

	ds := Differences(sv, gk)
	var keys []string
	for _, d := range ds {
		keys = append(keys, d.Key)
		assert.NotEmpty(t, d.Means, d.Key)
		assert.NotEqual(t, Own, d.Group, "that they are two VMMs is no difference in the conditions")
	}
	assert.Equal(t, []string{"cache", "sync", "aio", "touched at the start", "mapping", "clock", "bus", "more devices", "type", "seccomp", "kernel words"}, keys)
	last := ds[len(ds)-1]
	assert.Equal(t, [2]string{"", "noapic tsc_early_khz=2600000"}, [2]string{last.A, last.B}, "only the words that the other has not")

	older := inputs()["firecracker"] // before 1.17
	older.Kernel = File{Path: "/k/vmlinux", SHA256: strings.Repeat("12", 32), Bytes: 20 << 20}
	unpacked := Differences(sv, Describe(older, machineFiles))[0]
	assert.Equal(t, "vmlinux, sha256 1212121212121212, 20971520 bytes", unpacked.B, "it does not boot the file that the others boot: that comes first")
	assert.Contains(t, unpacked.Means, "the boot time of the first includes the unpacking")

	swapped := Differences(gk, sv)
	require.Len(t, swapped, len(ds))
	for i := range ds {
		assert.Equal(t, ds[i].A, swapped[i].B)
	}
}

func TestMeaningOfHugePages(t *testing.T) {
	for thp, want := range map[string]string{
		"madvise": "Huge pages are given to those who ask", "never": "No effect here", "always": "Little effect here", "not shown": "not known",
	} {
		side := func(value string) Side {
			return Side{Entries: []Entry{{Memory, "huge pages", value}, {Host, "THP", thp}}}
		}
		ds := Differences(side(advised), side(notAdvised))
		require.Len(t, ds, 1)
		assert.Contains(t, ds[0].Means, want)
	}
}

func TestMeanings(t *testing.T) {
	a := Side{Entries: []Entry{{Guest, "kernel", "x"}, {Guest, "kernel release", "6.1"}, {Guest, "sysbench", unknown}, {Host, "governor", "performance"}, {Work, "data set", "64 MiB"}}}
	b := Side{Entries: []Entry{{Guest, "kernel", "y"}, {Guest, "kernel release", "6.1"}, {Guest, "sysbench", "1.0.20"}, {Host, "governor", "powersave"}, {Disk, "cache", direct}, {Work, "data set", "1 GiB"}}}
	var got []string
	for _, d := range Differences(a, b) {
		got = append(got, d.Key+": "+strings.SplitAfterN(d.Means, " ", 4)[0])
	}
	assert.Equal(t, []string{"kernel: Different ", "sysbench: Not ", "cache: Not ", "governor: The ", "data set: "}, got)
}

func TestManifestJSON(t *testing.T) {
	m := Manifest{Sides: []Side{Describe(inputs()["gokvm"], machineFiles), Describe(inputs()["qemu-pc"], noFiles)}}
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	again, err := Load(raw)
	require.NoError(t, err)
	assert.Equal(t, m, again)
	_, ok := again.Side("gokvm", "L1")
	assert.True(t, ok)
	_, ok = again.Side("gokvm", "host")
	assert.False(t, ok)

	empty, err := Load(nil)
	require.NoError(t, err)
	assert.Empty(t, empty.Sides)
	_, err = Load(json.RawMessage(`{"sides": 1}`))
	assert.ErrorContains(t, err, "damaged")
}

func TestHashFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	f, err := HashFile(path)
	require.NoError(t, err)
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", f.SHA256) // FIPS 180-2, appendix B.1
	assert.Equal(t, "sha256 ba7816bf8f01cfea, 3 bytes", f.String())
	_, err = HashFile(path + "x")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestQuoted(t *testing.T) {
	assert.Equal(t, `qemu -append 'a b' '' 'it'\''s'`, quoted([]string{"qemu", "-append", "a b", "", "it's"}))
}

func FuzzDescribe(f *testing.F) {
	for name, in := range inputs() {
		f.Add(name, strings.Join(in.Argv, "\n"), in.Files["/t/fc.json"], "processor : 0\nflags : hypervisor\n")
	}
	f.Fuzz(func(t *testing.T, name, argv, config, host string) {
		in := Input{VMM: name, Argv: strings.Split(argv, "\n"), Files: map[string]string{"/t/fc.json": config}, KernelConfig: host}
		s := Describe(in, func(string) ([]byte, error) { return []byte(host), nil })
		for _, e := range s.Entries {
			if e.Value == "" && e.Group != Own {
				t.Errorf("%s | %s is empty", e.Group, e.Key)
			}
		}
		if d := Differences(s, s); len(d) != 0 {
			t.Errorf("a side differs from itself: %v", d)
		}
	})
}
