package submission

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// answer is one as a table has it: its name and the first file of each role.
type answer struct {
	name  string
	files map[Role]string
}

func firsts(all []Answer) (out []answer) {
	for _, a := range all {
		got := answer{a.Name, map[Role]string{}}
		for role, files := range a.Files {
			got.files[role] = files[0].Path
		}
		out = append(out, got)
	}
	return out
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		lab   result.Lab
		files tree
		want  []answer
	}{
		{"one", result.CPU, tree{"modified-qemu.c": "1", "edu_modified.c": "2", "a.h": "", "report.md": "r"},
			[]answer{{"", map[Role]string{VMM: "modified-qemu.c", Header: "a.h"}}}},
		{"none", result.Memory, tree{"modified-qemu.c": "1", "x.txt": ""}, []answer{{"", map[Role]string{}}}},
		{"two names in one folder", result.CPU, tree{"modified-qemu.c": "1", "modified_qemu.c": "2", "x.txt": ""},
			[]answer{{"modified-qemu_c", map[Role]string{VMM: "modified-qemu.c"}}, {"modified_qemu_c", map[Role]string{VMM: "modified_qemu.c"}}}},
		{"final and old", result.IO, tree{
			"final/edu_modified.c": "1", "final/pci_modified.c": "2", "final/sub/test_modified.c": "3",
			"old/edu_modified.c": "4", "old/pci_modified.c": "5", "old/sub/test_modified.c": "6", "edu-op.json": "{}", "edu_ioctl.h": ""},
			[]answer{
				{"final", map[Role]string{Edu: "final/edu_modified.c", Driver: "final/pci_modified.c", Test: "final/sub/test_modified.c", EduOp: "edu-op.json", Header: "edu_ioctl.h"}},
				{"old", map[Role]string{Edu: "old/edu_modified.c", Driver: "old/pci_modified.c", Test: "old/sub/test_modified.c", EduOp: "edu-op.json", Header: "edu_ioctl.h"}}}},
		{"the old ones last", result.CPU, tree{"backup/modified-qemu.c": "1", "folder/modified-qemu.c": "2"},
			[]answer{{"folder", map[Role]string{VMM: "folder/modified-qemu.c"}}, {"backup", map[Role]string{VMM: "backup/modified-qemu.c"}}}},
		{"on top and below", result.IO, tree{"edu_modified.c": "1", "pci_modified.c": "2", "old/edu_modified.c": "3", "x/test_modified.c": "4"},
			[]answer{
				{"top", map[Role]string{Edu: "edu_modified.c", Driver: "pci_modified.c", Test: "x/test_modified.c"}},
				{"old", map[Role]string{Edu: "old/edu_modified.c", Driver: "pci_modified.c", Test: "x/test_modified.c"}}}},
		{"what only one folder has", result.IO, tree{"a/edu_modified.c": "1", "a/pci_modified.c": "2", "b/edu_modified.c": "3", "x.txt": ""},
			[]answer{
				{"a", map[Role]string{Edu: "a/edu_modified.c", Driver: "a/pci_modified.c"}},
				{"b", map[Role]string{Edu: "b/edu_modified.c", Driver: "a/pci_modified.c"}}}},
		{"by kind", result.IO, tree{"dev/edu_modified.c": "1", "drv/pci_modified.c": "2", "drv/test_modified.c": "3", "old/edu_modified.c": "4"},
			[]answer{
				{"dev", map[Role]string{Edu: "dev/edu_modified.c", Driver: "drv/pci_modified.c", Test: "drv/test_modified.c"}},
				{"old", map[Role]string{Edu: "old/edu_modified.c", Driver: "drv/pci_modified.c", Test: "drv/test_modified.c"}}}},
		{"two of one, two of another", result.IO, tree{"a/edu_modified.c": "1", "a/edu-modified.c": "2", "b/pci_modified.c": "3", "b/pci-modified.c": "4"},
			[]answer{
				{"edu-modified_c_pci-modified_c", map[Role]string{Edu: "a/edu-modified.c", Driver: "b/pci-modified.c"}},
				{"edu-modified_c_pci_modified_c", map[Role]string{Edu: "a/edu-modified.c", Driver: "b/pci_modified.c"}},
				{"edu_modified_c_pci-modified_c", map[Role]string{Edu: "a/edu_modified.c", Driver: "b/pci-modified.c"}}}},
		{"a copy is no other answer", result.CPU, tree{"a/modified-qemu.c": "1", "b/modified-qemu.c": "1"}, []answer{{"", map[Role]string{VMM: "a/modified-qemu.c"}}}},
		{"a copy completes the other folder", result.IO, tree{"a/edu_modified.c": "1", "a/pci_modified.c": "2", "b/edu_modified.c": "1", "b/pci_modified.c": "3"},
			[]answer{
				{"a", map[Role]string{Edu: "a/edu_modified.c", Driver: "a/pci_modified.c"}},
				{"b", map[Role]string{Edu: "a/edu_modified.c", Driver: "b/pci_modified.c"}}}},
		{"logs of one folder", result.Memory, tree{"gpt-dump.txt": guestLine, "gpt-dump-2.txt": guestLine + "2", "ept-dump.txt": hostLine, "dmesg.txt": hostLine + "2", "a_modified.c": walkSource + "2", "gpt-dump_modified.c": walkSource},
			[]answer{{"", map[Role]string{GuestLog: "gpt-dump.txt", HostLog: "ept-dump.txt", WalkModule: "gpt-dump_modified.c"}}}},
		{"logs of two kinds in two folders", result.Memory, tree{"guest/gpt-dump.txt": guestLine, "host/ept-dump.txt": hostLine},
			[]answer{{"", map[Role]string{GuestLog: "guest/gpt-dump.txt", HostLog: "host/ept-dump.txt"}}}},
		{"sets of logs", result.Memory, tree{"m/4k/gpt-dump.txt": guestLine, "m/4k/ept-dump.txt": hostLine, "m/2m/gpt-dump.txt": guestLine + "2", "m/2m/dmesg.txt": hostLine + "2", "gpt-dump.c": walkSource},
			[]answer{
				{"2m", map[Role]string{GuestLog: "m/2m/gpt-dump.txt", HostLog: "m/2m/dmesg.txt", WalkModule: "gpt-dump.c"}},
				{"4k", map[Role]string{GuestLog: "m/4k/gpt-dump.txt", HostLog: "m/4k/ept-dump.txt", WalkModule: "gpt-dump.c"}}}},
		{"the log with its name first", result.Memory, tree{"a.txt": guestLine + "1", "z/gpt-dump.txt": guestLine, "b.txt": hostLine},
			[]answer{{"", map[Role]string{GuestLog: "z/gpt-dump.txt", HostLog: "b.txt"}}}},
		{"tables", result.Bench, tree{"a/x.csv": "1", "b/x.csv": "2"}, []answer{{"", map[Role]string{Measurements: "a/x.csv"}}}},
		{"reports", result.ByHand, tree{"a/report.pdf": "1", "report.docx": "2"}, []answer{{"", map[Role]string{Report: "report.docx"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := openTree(t, c.files).Answers(c.lab)
			assert.Equal(t, c.want, firsts(all))
		})
	}
}

func TestAnswersHoldAllFiles(t *testing.T) {
	s := openTree(t, tree{"a/x.csv": "1", "b/x.csv": "2", "gpt-dump.txt": guestLine, "z.txt": guestLine + "2", "a.h": "", "b/a.h": ""})
	require.Len(t, s.Answers(result.Bench), 1)
	assert.Len(t, s.Answers(result.Bench)[0].Files[Measurements], 2)
	memory := s.Answers(result.Memory)[0].Files
	assert.Len(t, memory[GuestLog], 2)
	assert.Len(t, memory[Header], 2)
	assert.NotContains(t, memory, HostLog)
}

func TestAnswersAreNoted(t *testing.T) {
	s := openTree(t, tree{"final/edu_modified.c": "1", "final/pci_modified.c": "2", "old/edu_modified.c": "3", "edu-op.json": "{}"})
	assert.Equal(t, "one of several that could be meant: answer final", note(t, s, "final/edu_modified.c"))
	assert.Equal(t, "one of several that could be meant: answer old", note(t, s, "old/edu_modified.c"))
	assert.Empty(t, note(t, s, "final/pci_modified.c"))
	assert.Empty(t, note(t, s, "edu-op.json"))
}

func TestNoMoreThanThreeAnswers(t *testing.T) {
	s := openTree(t, tree{"1/modified-qemu.c": "1", "2/modified-qemu.c": "2", "3/modified-qemu.c": "3", "4/modified-qemu.c": "4", "5/modified-qemu.c": "5", "a.h": ""})
	assert.Len(t, s.Answers(result.CPU), 3)
	assert.Equal(t, "one of several that could be meant: answer 3", note(t, s, "3/modified-qemu.c"))
	for _, p := range []string{"4/modified-qemu.c", "5/modified-qemu.c"} {
		assert.Equal(t, "not used: several files could be meant, and no more than 3 answers are looked at", note(t, s, p))
	}
	assert.Empty(t, note(t, s, "a.h"))
}

// Many files in each of many folders must not take for ever.
func TestAnswersOfManyFiles(t *testing.T) {
	files := tree{}
	for _, folder := range []string{"a", "b", "c", "d", "e", "f"} {
		for _, sub := range []string{"1", "2", "3", "4", "5", "6"} {
			for _, name := range []string{"edu_modified.c", "edu-modified.c", "pci_modified.c", "pci-modified.c", "test_modified.c", "test-modified.c", "edu-op.json", "edu_op.json"} {
				p := folder + "/" + sub + "/" + name
				files[p] = p
			}
		}
	}
	s := openTree(t, files)
	all := s.Answers(result.IO)
	require.Len(t, all, 3)
	for _, a := range all {
		for _, role := range []Role{Edu, EduOp, Driver, Test} {
			assert.Len(t, a.Files[role], 1)
		}
	}
}
