package measure

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the goldens anew")

// all makes all checks of a table.
func all(table *Table) (found []Finding) {
	identities, _, _ := table.Identities()
	return slices.Concat(table.Complete(), identities, table.Parity(), table.DataSet(), table.Repeats())
}

func TestReferenceIsClean(t *testing.T) {
	table := read(t, reference)
	var found []string
	for _, f := range all(table) {
		require.Equal(t, Advice, f.Severity, f)
		found = append(found, f.Text)
	}
	assert.Equal(t, []string{
		"runs of 1 s: the course asks for at least 10s each",
		`"microvm" and "pc" are machine types of one VMM: their difference is not one between VMMs`,
	}, found)
	assert.Empty(t, all(read(t, "testdata/complete.csv")))
	_, checked, of := table.Identities()
	assert.Equal(t, []int{100, 100}, []int{checked, of})
}

// TestGolden keeps what a reviewer would read about the wrong tables.
func TestGolden(t *testing.T) {
	mutants, err := filepath.Glob("../../fixtures/mutants/bench/*")
	require.NoError(t, err)
	var out strings.Builder
	for _, path := range append(mutants, "testdata/chinese.csv", "testdata/columns.md", "testdata/stratovirt.txt") {
		table := read(t, path)
		fmt.Fprintf(&out, "== %s: %d rows\n", filepath.Base(path), len(table.Rows))
		for _, n := range table.Notes {
			fmt.Fprintf(&out, "note: %s\n", n)
		}
		for _, f := range all(table) {
			fmt.Fprintf(&out, "%s: %s\n", f.Severity, f)
		}
	}
	if *update {
		require.NoError(t, os.WriteFile("testdata/findings.golden", []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile("testdata/findings.golden")
	require.NoError(t, err)
	assert.Equal(t, string(want), out.String())
}

const sysbenchHeader = "vmm,test,threads,block,mode,events/s,throughput,latency (ms),total,total events,time (s)\n"

// identitiesOf reads one line of a table, and says what is wrong with it.
func identitiesOf(t *testing.T, line string) string {
	t.Helper()
	table := Read("t.csv", sysbenchHeader+line+"\n")
	require.Empty(t, table.Problems, line)
	found, checked, of := table.Identities()
	require.Equal(t, 1, of)
	if len(found) > 0 && found[0].Severity == Wrong {
		require.Equal(t, 1, checked)
		return found[0].Text
	}
	return ""
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct{ line, why string }{
		{"q,cpu,4,,,4736,,0.84,,,", ""},
		{"q,cpu,4,,,47360,,0.84,,,", "events/s is 9.95 times too large: it is the total of a run of 10 s"},
		{"q,cpu,4,,,142080,,0.84,,,30", "it is the total of a run of 30 s"},
		{"q,cpu,4,,,47360,,0.84,,,60", "events/s is 9.95 times too large; copy both"},
		{"q,cpu,4,,,1184,,0.84,,,", "the factor is the number of threads"},
		{"q,cpu,4,,,5200,,0.84,,,", ""}, // 9 %: threads wait
		{"q,cpu,4,,,6400,,0.84,,,", "make 4024 to 5509 events/s, not 6400"},
		{"q,cpu,64,,,4736,,13.5,,,", ""},
		{"q,cpu,4,,,4736,,0.84,,47372,10", ""},
		{"q,cpu,4,,,4736,,0.84,,94744,10", "94744 in 10 s are a events/s of 9474, not 4736 /s"},
		{"q,memory,4,1k,seq,1537724.61,1501.68MiB/s,,,,", ""},
		{"q,memory,4,1k,seq,1537724,1501.68MiB/s,,,,", ""},
		{"q,memory,4,1k,seq,1537724.61,15016.8MiB/s,,,,", "throughput is 10 times too large: it is the total"},
		{"q,memory,4,1k,seq,15377246,1501.68MiB/s,,,,", "operations/s is 10 times too large: it is the total"},
		{"q,memory,4,1k,seq,1537724.61,1501.68GiB/s,,,,", "a unit is off by 1024"},
		{"q,memory,4,1k,seq,1501.68,1537724.61,,,,", "the two numbers look exchanged"},
		{"q,memory,4,1k,seq,1537724.61,187.71MiB/s,,,,", "bits and bytes"},
		{"q,memory,4,2k,seq,1537724.61,1501.68MiB/s,,,,", "operations/s is 2 times too large"},
		{"q,memory,4,1k,seq,1537724.61,1574.63MB/s,,,,", ""},
		{"q,fileio,32,4k,rndrd,13608.96,53.16,2.35,,,", ""},
		{"q,fileio,32,4k,rndrd,13608.96,53.16,23.5,,,", "32 threads at 23.5 ms an event make at most"},
		{"q,fileio,32,4k,rndrd,13608.96,53.16,0.00235,,,", ""}, // only less than what is possible
		{"q,fileio,32,4k,rndrd,13608.96,53.16,,531.6,,10", ""},
		{"q,fileio,32,4k,rndrd,13608.96,53.16,,53.16,,10", "53.16 MiB in 10 s are a throughput of 5.316, not 53.16"},
	} {
		if got := identitiesOf(t, c.line); c.why == "" {
			assert.Empty(t, got, c.line)
		} else {
			assert.Contains(t, got, c.why, c.line)
		}
	}
}

func TestMBThatMeansMiBThroughoutIsAdvice(t *testing.T) {
	const meant = "q,memory,4,1k,seq,1537724.61,1501.68MB/s,,,,\nq,memory,4,1k,rnd,289792.97,283.00MB/s,,,,\n"
	found, _, _ := Read("t.csv", sysbenchHeader+meant).Identities()
	require.Len(t, found, 1)
	assert.Equal(t, Advice, found[0].Severity)
	assert.Contains(t, found[0].Text, `"MB/s" in these tables means 2^20 bytes`)

	found, _, _ = Read("t.csv", sysbenchHeader+meant+"q,memory,4,2k,rnd,157926.40,323.43MB/s,,,,\n").Identities()
	require.Len(t, found, 2, "the two that are not of the same MB as the third")
	assert.Contains(t, found[0].Text, "MiB and MB got mixed up")
}

func TestRowsWithOneNumberAreNotChecked(t *testing.T) {
	_, checked, of := Read("t.csv", sysbenchHeader+"q,cpu,4,,,4736,,,,,\nq,cpu,4,,,4736,,0.84,,,\n").Identities()
	assert.Equal(t, []int{1, 2}, []int{checked, of})
}

func parityOf(facts string) (found []string) {
	for _, f := range Read("t.csv", facts+"vmm,test,boot time (s)\nqemu,boot,4.7\nstratovirt,boot,0.5\n").Parity() {
		found = append(found, string(f.Severity)+": "+f.Text)
	}
	return found
}

func TestParity(t *testing.T) {
	const alike = "# machine: microvm\n# memory: 1G\n# vcpus: 2\n# kernel: /boot/vmlinuz-6.6.63-lab\n"
	assert.Empty(t, parityOf(alike))
	assert.Empty(t, parityOf(alike+"# qemu.memory: 1024\n# qemu.kernel: 6.6.63-lab\n# qemu.machine: MicroVM\n"), "the same in other words")
	assert.Contains(t, parityOf("")[0], "advice: not stated for both sides: machine type, guest memory, vCPUs, kernel")
	assert.Contains(t, parityOf("# memory: 1G\n")[0], "machine type, vCPUs, kernel")
	for facts, why := range map[string]string{
		"# qemu.machine: pc\n":            `wrong: the machine type is "pc" on qemu but "microvm" on stratovirt`,
		"# qemu.memory: 2048 MiB\n":       `wrong: the guest memory is "2048 MiB" on qemu but "1G"`,
		"# stratovirt.vcpus: 4\n":         `wrong: the vCPUs is "2" on qemu but "4" on stratovirt`,
		"# stratovirt.kernel: 6.1.115\n":  `wrong: the kernel is`,
		"# stratovirt.内存: 512M\n":         `wrong: the guest memory is "1G" on qemu but "512M"`,
		"# stratovirt.memory: a lot of\n": `"a lot of"`,
	} {
		found := parityOf(alike + facts)
		require.Len(t, found, 1, facts)
		assert.Contains(t, found[0], why)
	}
}

func TestMachinesOfOneVMMAreSides(t *testing.T) {
	const both = "vmm,machine,test,boot time (s)\nqemu,pc,boot,4.7\nqemu,microvm,boot,0.9\n"
	table := Read("t.csv", both)
	assert.Equal(t, []string{"qemu microvm", "qemu pc"}, names(table.Compared()))
	assert.Equal(t, Advice, table.Parity()[0].Severity)

	mixed := Read("t.csv", "vmm,machine,test,threads,boot time (s),events/s\nqemu,pc,boot,,4.7,\nqemu,microvm,cpu,4,,4736.5\nstratovirt,microvm,boot,,0.9,\n")
	assert.Equal(t, []string{"qemu", "stratovirt"}, names(mixed.Compared()))
	assert.Contains(t, mixed.Parity()[0].Text, `qemu states two values for its machine type, "pc" (t.csv:2:2) and "microvm"`)
}

func TestBareMetalIsNotCompared(t *testing.T) {
	table := Read("t.csv", "vmm,test,boot time (s)\nqemu,boot,4.7\n物理机,boot,20\nstratovirt,boot,0.9\nhost,boot,20\n")
	assert.Equal(t, []string{"qemu", "stratovirt"}, names(table.Sides()))
}

func TestThirdVMMIsLeftAside(t *testing.T) {
	found := Read("t.csv", "vmm,test,boot time (s),rss (KB)\nqemu,boot,4.7,\nqemu,footprint,,140000\nstratovirt,boot,0.9,\nstratovirt,footprint,,20000\ngokvm,boot,2,\n").Complete()
	i := slices.IndexFunc(found, func(f Finding) bool { return f.Severity == Advice })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, "compared are qemu and stratovirt, which have the most cells, and not (gokvm)", found[i].Text)
}

func dataSetOf(text string) (found []string) {
	for _, f := range Read("t.csv", text).DataSet() {
		found = append(found, fmt.Sprintf("%s: %s", f.Severity, f.Text))
	}
	return found
}

func TestDataSet(t *testing.T) {
	const fileio = "vmm,test,threads,block,mode,throughput (MiB/s),rss (KB),virtual (KB)\nq,fileio,32,128k,seqrd,2000,,\n"
	for _, c := range []struct{ text, why string }{
		{"# direct: on\n" + fileio, ""},
		{"# data-set: 2G\n" + fileio, ""},
		{"# data-set: 2G\n# memory: 4G\n" + fileio, "wrong: files of 2048 MiB fit into the guest's memory of 4096 MiB"},
		{"# data-set: 1G\n# direct: off\n" + fileio, "wrong: files of 1024 MiB fit"},
		{fileio, "advice: neither the size of the files"},
		{"# direct: on\n" + fileio + "q,memory,4,8k,seq,1999,,\n", "implausible: 2000 MiB/s is faster than the same guest's memory"},
		{"# direct: on\n" + fileio + "q,memory,4,8k,seq,2001,,\n", ""},
		{"# direct: on\n" + fileio + "q,footprint,,,,,139440,2374184\n", ""},
		{"# direct: on\n" + fileio + "q,footprint,,,,,2374184,\n", "implausible: an RSS of 2374184 KB is more than all of the guest's memory"},
		{"# direct: on\n" + fileio + "q,footprint,,,,,139440,139440\n", "implausible: RSS and virtual size are the same number"},
		{"# direct: on\n" + fileio + "q,footprint,,,,,,2374184\n", "implausible: only the virtual size is given"},
	} {
		found := dataSetOf(c.text)
		if c.why == "" {
			assert.Empty(t, found, c.text)
			continue
		}
		require.Len(t, found, 1, c.text)
		assert.Contains(t, found[0], c.why)
	}
}

func TestRunsThatAgreeByChanceAreNoCopies(t *testing.T) {
	text := "vmm,test,threads,block,mode,throughput (MiB/s),IOPS\n"
	for i, block := range []int{4, 128} {
		for j, mode := range []string{"rndrd", "rndwr", "seqrd", "seqwr"} {
			for run := range 2 {
				// A disk with a limit: throughput agrees, to four digits.
				text += fmt.Sprintf("q,fileio,32,%dk,%s,25.00,%d.%02d\n", block, mode, 6400/(1+31*i), 10+j*7+run)
			}
		}
	}
	assert.Empty(t, slices.DeleteFunc(Read("t.csv", text).Repeats(), func(f Finding) bool { return f.Severity != Wrong }))
}

func TestProblemsOfGarbageAreBounded(t *testing.T) {
	table := Read("t.csv", "vmm,test,threads,events/s\n"+strings.Repeat("q,cpu,4,fast\n", 5_000))
	assert.Len(t, table.Problems, maxProblems)
	found := table.Complete()
	assert.Less(t, len(found), 20)
	assert.Equal(t, "4995 more lines or cells could not be read", found[shownProblems].Text)
}

// TestLargeTables reads what is made to take long: the time must not grow with
// the square of a file's size.
func TestLargeTables(t *testing.T) {
	const lines = 2000
	make := func(header string, line func(i int) string) string {
		var b strings.Builder
		b.WriteString(header)
		for i := range lines {
			b.WriteString(line(i))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"VMMs":          make("vmm,test,threads,events/s\n", func(i int) string { return fmt.Sprintf("q%d,cpu,4,%d\n", i, i+1) }),
		"repeats":       make("vmm,test,threads,metric,value\n", func(i int) string { return fmt.Sprintf("q,cpu,4,events/s,%d\n", i+1) }),
		"comments":      make("vmm,test,threads,events/s\n", func(i int) string { return fmt.Sprintf("# q%d.memory: %d\nq,cpu,4,%d\n", i, i, i+1) }),
		"configuration": make("", func(i int) string { return fmt.Sprintf("k%d: v\nBenchmarkBoot/vmm=q 1 %d ns/op\n", i, i+1) }),
		"headers":       make("vmm,test", func(i int) string { return fmt.Sprintf(",x%d", i) }) + "\n",
	} {
		start := time.Now()
		table := Join(Read(name, text), Read("again", text))
		found := all(table)
		assert.Less(t, len(found), 100, name)
		assert.Less(t, time.Since(start), 20*time.Second, name)
	}
}
