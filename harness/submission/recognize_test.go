package submission

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	textunicode "golang.org/x/text/encoding/unicode"
)

const (
	hostLine  = "[ 8.31] This is EPT\n"
	guestLine = " GPT PGD index: 304\n"
)

func TestRecognizeOne(t *testing.T) {
	bench := "goos: linux\nBenchmarkBoot/vmm=qemu-8   \t       5\t 0.67 sec/op\n"
	for _, c := range []struct {
		path, content string
		want          []Role
		note          string
	}{
		{"modified-qemu.c", vmmSource, []Role{VMM}, ""},
		{"a/b/Modified_QEMU.C", "anything", []Role{VMM}, ""},
		{"modifiedqemu.c", "", []Role{VMM}, ""},
		{"modified qemu (1).c", "", []Role{VMM}, ""},
		{"modified－qemu.c", "", []Role{VMM}, ""},
		{"sample-qemu_modified.c", "", []Role{VMM}, ""},
		{"mini-vmm_modified.c", vmmSource, []Role{VMM}, "taken for the mini VMM by its content"},
		{"edu_modified.c", eduSource, []Role{Edu}, ""},
		{"EDU-Modified.c", "", []Role{Edu}, ""},
		{"qemu-edu-modified.c", eduSource, []Role{Edu}, "taken for the edu device by its content"},
		{"pci_modified.c", driverSource, []Role{Driver}, ""},
		{"driver_modified.c", driverSource, []Role{Driver}, "taken for the driver by its content"},
		{"test_modified.c", testSource, []Role{Test}, ""},
		{"ioctl_modified.c", testSource, []Role{Test}, "taken for the test program by its content"},
		{"sample-qemu.c", vmmSource, []Role{VMM}, "the course calls it modified-qemu.c"},
		{"edu.c", eduSource, []Role{Edu}, "the course calls it edu_modified.c"},
		{"pci.c", driverSource, []Role{Driver}, "the course calls it pci_modified.c"},
		{"test.c", testSource, []Role{Test}, "the course calls it test_modified.c"},
		{"gpt-dump_modified.c", walkSource, []Role{WalkModule}, ""},
		{"gpt-dump.c", walkSource, []Role{WalkModule}, ""},
		{"walk_modified.c", walkSource, []Role{WalkModule}, ""},
		{"walk_modified.c", strings.ReplaceAll(walkSource, "kvm_hypercall1(22, 0)", `({ asm("vmcall"); 0; })`), []Role{WalkModule}, ""},
		{"walk.c", walkSource, []Role{""}, "it looks like the walk module, which the course calls gpt-dump_modified.c"},
		{"main.c", vmmSource, []Role{""}, "it looks like the mini VMM, which the course calls modified-qemu.c"},
		{"unmodified-qemu.c", vmmSource, []Role{""}, "it looks like the mini VMM"},
		{"hello_modified.c", "int x;", []Role{""}, "none of the course's files"},
		{"walk_modified.c", "int init_module(void) { return kvm_hypercall1(22, 0); }", []Role{WalkModule}, ""},
		{"hello_modified.c", "module_init(x);", []Role{""}, "none of the course's files"},
		{"edu-op.json", "{}", []Role{EduOp}, ""},
		{"EDU_OP.JSON", "{}", []Role{EduOp}, ""},
		{"edu_ioctl.h", "", []Role{Header}, ""},

		{"gpt-dump.txt", guestLine, []Role{GuestLog}, ""},
		{"GPT_dump.log", guestLine, []Role{GuestLog}, ""},
		{"ept-dump.txt", hostLine, []Role{HostLog}, ""},
		{"npt_dump.txt", "This is NPT\n", []Role{HostLog}, ""},
		{"dmesg.txt", hostLine, []Role{HostLog}, ""},
		{"dmesg-guest.log", guestLine, []Role{GuestLog}, ""},
		{"console", guestLine + hostLine, []Role{GuestLog, HostLog}, ""},
		{"主机.txt", "hypercall 22: vCPU 0 of process 7 asks for GPA 0x1000\n", []Role{HostLog}, ""},
		{"gpt-dump.txt", guestLine + "hypercall 22: GPA 0x1000: result 0\n", []Role{GuestLog}, ""},
		{"gpt-dump.txt", "insmod: ERROR\n", []Role{GuestLog}, "nothing of a walk is in it"},
		{"dmesg.txt", "pci_edu: computing result 375f00\n", []Role{HostLog}, "nothing of a walk is in it"},
		{"gpt-dump.txt", string(golden(t, "course-gpt-dump.txt")), []Role{GuestLog}, ""},
		{"x.txt", string(golden(t, "course-ept-dump.txt")), []Role{HostLog}, ""},
		{"x.txt", string(golden(t, "both-walks.console.txt")), []Role{GuestLog, HostLog}, ""},
		{"x.txt", utf16(t, textunicode.LittleEndian, textunicode.UseBOM, hostLine), []Role{HostLog}, ""},
		{"日志.txt", gbk(t, "主机日志如下\n"+hostLine), []Role{HostLog}, ""},
		{"notes.txt", "hello\n", []Role{""}, "none of the course's files"},
		{"gpt-dump.txt", strings.Repeat("\x7fELF\x00\x01\x02\xff", 20), []Role{""}, "no text"},

		{"bench.txt", bench, []Role{Measurements}, ""},
		{"measurements", bench, []Role{Measurements}, ""},
		{"结果.csv", "a,b\n1,2\n", []Role{Measurements}, ""},
		{"sysbench.txt", string(golden(t, "sysbench.txt")), []Role{Measurements}, ""},
		{"all.txt", string(golden(t, "sysbench.txt")) + bench, []Role{Measurements}, ""},
		{"talk.txt", "we ran\n the BenchmarkBoot 5 0.67 sec/op twice\n", []Role{""}, "none of the course's files"},
		{"late.txt", "BenchmarkBoot\nfailed\n" + bench, []Role{Measurements}, ""},
		{"table.xlsx", "PK", []Role{""}, "save the table as CSV"},

		{"report.pdf", "%PDF", []Role{Report}, ""},
		{"实验报告.docx", "PK", []Role{Report}, ""},
		{"README", "x", []Role{Report}, ""},
		{"report.txt", "x", []Role{Report}, ""},
		{"report.md", "```\n" + guestLine + hostLine + "```\n", []Role{Report, GuestLog, HostLog}, ""},
		{"screen.png", "\x89PNG", []Role{""}, "a picture"},

		{"Makefile", "all:\n", []Role{""}, "virtlab builds by itself"},
		{"run.sh", "#!/bin/sh\n", []Role{""}, "virtlab builds by itself"},
		{"Kbuild", "", []Role{""}, "virtlab builds by itself"},
		{"CMakeLists.txt", "", []Role{""}, "virtlab builds by itself"},
		{"kvm.patch", "", []Role{""}, "the whole file"},
		{"code.rar", "Rar!", []Role{""}, "only zip files are"},
		{"a.out", "\x7fELF\x02\x01\x01\x00\x00\x00", []Role{""}, "no text"},
		{"modified-qemu.c\n", vmmSource, []Role{""}, "control characters"},
		{"x\x1b[2J/modified-qemu.c", vmmSource, []Role{""}, "control characters"},
		{"x\"y'/modified-qemu.c", vmmSource, []Role{VMM}, ""},
	} {
		t.Run(c.path, func(t *testing.T) {
			s := openTree(t, tree{c.path: c.content, "other/file.xyz": "", "file.xyz": ""})
			var got []Role
			for _, f := range s.Files {
				if f.Path == c.path {
					got = append(got, f.Role)
				}
			}
			assert.Equal(t, c.want, got)
			assert.Contains(t, note(t, s, c.path), c.note)
			if c.note == "" {
				assert.Equal(t, strings.Repeat("|", len(c.want)-1), note(t, s, c.path))
			}
		})
	}
}

func TestRecognizeAmongOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		files tree
		want  map[Role][]string
		notes map[string]string
	}{
		{"an original beside the change", tree{"edu.c": eduSource, "edu_modified.c": eduSource + "1", "orig/pci.c": driverSource, "pci_modified.c": driverSource + "1"},
			map[Role][]string{Edu: {"edu_modified.c"}, Driver: {"pci_modified.c"}, "": {"edu.c", "orig/pci.c"}},
			map[string]string{"edu.c": "not used: edu_modified.c is there", "orig/pci.c": "not used: pci_modified.c is there"}},
		{"a copy", tree{"a/modified-qemu.c": vmmSource, "modified-qemu.c": vmmSource, "b/modified-qemu.c": vmmSource},
			map[Role][]string{VMM: {"modified-qemu.c"}, "": {"a/modified-qemu.c", "b/modified-qemu.c"}},
			map[string]string{"a/modified-qemu.c": "not used: the same as modified-qemu.c"}},
		{"headers stay", tree{"a/edu_ioctl.h": "x", "edu_ioctl.h": "x"}, map[Role][]string{Header: {"a/edu_ioctl.h", "edu_ioctl.h"}}, nil},
		{"the right name beside one that could be", tree{"modified-qemu.c": vmmSource, "vmm_modified.c": vmmSource + "1"},
			map[Role][]string{VMM: {"modified-qemu.c"}, "": {"vmm_modified.c"}}, map[string]string{"vmm_modified.c": "not used: modified-qemu.c is beside it"}},
		{"a copy of what is not used", tree{"f/modified-qemu.c": vmmSource, "f/vmm_modified.c": vmmSource + "1", "o/vmm_modified.c": vmmSource + "1"},
			map[Role][]string{VMM: {"f/modified-qemu.c", "o/vmm_modified.c"}, "": {"f/vmm_modified.c"}}, nil},
		{"logs in the report and apart", tree{"report.md": guestLine + hostLine, "gpt-dump.txt": guestLine},
			map[Role][]string{Report: {"report.md"}, HostLog: {"report.md"}, GuestLog: {"gpt-dump.txt"}}, nil},
		{"a log in name only", tree{"dmesg.txt": "edu\n", "host.txt": hostLine},
			map[Role][]string{HostLog: {"host.txt"}, "": {"dmesg.txt"}}, map[string]string{"dmesg.txt": "not used: host.txt is there"}},
		{"the same log twice", tree{"ept-dump.txt": hostLine, "dmesg.txt": hostLine},
			map[Role][]string{HostLog: {"ept-dump.txt"}, "": {"dmesg.txt"}}, map[string]string{"dmesg.txt": "not used: the same as ept-dump.txt"}},
		{"what the course asks for", tree{"modified-qemu.c": vmmSource, "edu_modified.c": eduSource, "edu-op.json": "{}", "pci_modified.c": driverSource, "edu_ioctl.h": "",
			"test/test_modified.c": testSource, "gpt-dump.txt": guestLine, "ept-dump.txt": hostLine, "bench.txt": "BenchmarkX 1 2 ns/op\n", "report.md": "r"},
			map[Role][]string{VMM: {"modified-qemu.c"}, Edu: {"edu_modified.c"}, EduOp: {"edu-op.json"}, Driver: {"pci_modified.c"}, Header: {"edu_ioctl.h"},
				Test: {"test/test_modified.c"}, GuestLog: {"gpt-dump.txt"}, HostLog: {"ept-dump.txt"}, Measurements: {"bench.txt"}, Report: {"report.md"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTree(t, c.files)
			assert.Equal(t, c.want, roles(s))
			for path, want := range c.notes {
				assert.Equal(t, want, note(t, s, path))
			}
		})
	}
}

func TestControlCharactersAreNoted(t *testing.T) {
	s := openTree(t, tree{"a\nb.c": "x", "c.c": "y"})
	assert.Contains(t, s.Notes, `names with control characters: "a\nb.c"`)
}
