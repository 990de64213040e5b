package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/sysbench"
)

func read(t testing.TB, path string) *Table {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return Read(filepath.Base(path), string(text))
}

// reference is a real run of make bench.
const reference = "../../fixtures/submission/bench.txt"

func value(t *testing.T, table *Table, row string, m Metric) Value {
	t.Helper()
	for _, r := range table.Rows {
		if r.String() == row {
			require.Contains(t, r.Values, m, row)
			return r.Values[m]
		}
	}
	require.Fail(t, "no such row", "%s among\n%s", row, rowNames(table))
	return Value{}
}

func rowNames(table *Table) string {
	var all []string
	for _, r := range table.Rows {
		all = append(all, r.String())
	}
	return strings.Join(all, "\n")
}

func TestReadGo(t *testing.T) {
	table := read(t, reference)
	assert.Empty(t, table.Problems)
	assert.Empty(t, table.Notes)
	boot := value(t, table, "boot on qemu-pc, repeat 3", BootTime)
	assert.InDelta(t, 0.630166073, boot.Value, 1e-12)
	assert.Equal(t, "630166073", boot.Text)
	cpu := value(t, table, "cpu 16 threads on qemu-microvm, repeat 2", Mean)
	assert.InDelta(t, 0.01379, cpu.Value, 1e-12)
	assert.InDelta(t, 5e-6, cpu.Half, 1e-12)
	assert.InDelta(t, 20992492, value(t, table, "fileio 1 x 4k rndrd on qemu-microvm, repeat 1", Throughput).Value, 0)
	for _, r := range table.Rows {
		assert.Equal(t, "1024MiB", r.Facts[GuestRAM].Text)
		assert.Equal(t, strings.TrimPrefix(r.VMM, "qemu-"), r.Facts[Machine].Text)
	}
}

// The same VMM on L1 is another side, with settings of its own.
func TestReadGoOnL1(t *testing.T) {
	table := Read("bench.txt", "qemu-microvm.memory: 1024MiB\nqemu-microvm@l1.memory: 512MiB\n"+
		"BenchmarkBoot/vmm=qemu-microvm/on=host 1 0.5 init-sec 0.1 kernel-sec\n"+
		"BenchmarkBoot/vmm=qemu-microvm/on=L1 1 5 init-sec\n"+
		"BenchmarkSysbenchCPU/vmm=qemu-microvm/on=L1/threads=4 1 400 events/s\n")
	assert.Empty(t, table.Problems)
	assert.Empty(t, table.Notes)
	assert.InDelta(t, 0.5, value(t, table, "boot on qemu-microvm, repeat 1", BootTime).Value, 1e-9)
	assert.InDelta(t, 5, value(t, table, "boot on qemu-microvm@l1, repeat 1", BootTime).Value, 1e-9)
	assert.InDelta(t, 400, value(t, table, "cpu 4 threads on qemu-microvm@l1, repeat 1", Rate).Value, 1e-9)
	assert.Equal(t, "1024MiB", table.Rows[0].Facts[GuestRAM].Text)
	assert.Equal(t, "512MiB", table.Rows[1].Facts[GuestRAM].Text)
}

func TestReadGoProblems(t *testing.T) {
	for _, c := range []struct{ line, why string }{
		{"BenchmarkSysbenchCPU/vmm=q/threads=4 1 x ops/s", "bench.txt:1: parsing measurement"},
		{"BenchmarkSysbenchCPU/vmm=q/threads=4 1 0 ops/s", "did nothing"},
		{"BenchmarkSysbenchCPU/vmm=q/threads=4 1 -5 ops/s", "no measurement"},
		{"BenchmarkSysbenchCPU/vmm=q/threads=none 1 5 ops/s", `"none" is no number of threads`},
		{"BenchmarkSysbenchCPU/vmm=q 1 5 ops/s", "the name does not say the number of threads"},
		{"BenchmarkSysbenchCPU/threads=4 1 5 ops/s", "of which VMM"},
		{"BenchmarkSysbenchFileIO/vmm=q/threads=4/block=4q/mode=rndrd 1 5 ops/s", "is no block size"},
		{"BenchmarkSysbenchFileIO/vmm=q/threads=4/block=4k/mode=fast 1 5 ops/s", "is no mode"},
		{"BenchmarkSysbenchFileIO/vmm=q/threads=4/block=4k/colour=red 1 5 ops/s", `"colour" is neither`},
	} {
		table := Read("bench.txt", c.line+"\n")
		require.Len(t, table.Problems, 1, c.line)
		assert.Contains(t, table.Problems[0].String(), c.why)
	}
	assert.Equal(t, []string{"bench.txt:1: BenchmarkOther is not one of the course's tables"}, Read("bench.txt", "BenchmarkOther 1 5 ns/op\n").Notes)
	table := Read("bench.txt", "vmm: StratoVirt\nmachine: microvm\nBenchmarkBoot 1 500000000 ns/op\n")
	assert.Equal(t, "boot on stratovirt, repeat 1", table.Rows[0].String())
	assert.Equal(t, "microvm", table.Rows[0].Facts[Machine].Text)
}

func TestReadCSV(t *testing.T) {
	table := read(t, "testdata/complete.csv")
	assert.Empty(t, table.Problems)
	assert.Empty(t, table.Notes)
	assert.Len(t, table.Rows, 2*(3+10+2*25))
	assert.InDelta(t, 139440*1024, value(t, table, "footprint on qemu, repeat 1", RSS).Value, 0)
	v := value(t, table, "memory 4 x 8k rnd on stratovirt, repeat 2", Throughput)
	assert.InDelta(t, 316.44*sysbench.MiB, v.Value, 1)
	assert.Equal(t, "316.44 MiB/s", v.String())
	assert.Equal(t, "complete.csv:86:10", v.Pos.String())
}

func TestReadChineseCSV(t *testing.T) {
	table := read(t, "testdata/chinese.csv")
	assert.Equal(t, "cpu 4 threads on stratovirt, repeat 1\ncpu 4 threads on stratovirt, repeat 2\n"+
		"memory 4 x 1k seq on stratovirt, repeat 1\nfileio 32 x 4k rndrd on stratovirt, repeat 1\n"+
		"fileio 32 x 4k seqwr on stratovirt, repeat 1\nfileio 32 x 4k rndwr on stratovirt, repeat 1", rowNames(table))
	assert.InDelta(t, 1113.4, value(t, table, "cpu 4 threads on stratovirt, repeat 1", Rate).Value, 1e-9)
	assert.InDelta(t, 1537724.61, value(t, table, "memory 4 x 1k seq on stratovirt, repeat 1", Rate).Value, 1e-6)
	require.Len(t, table.Problems, 1)
	assert.Equal(t, `chinese.csv:12:7: "吞吐量（MiB/s）": "约32" is not a number: write the measured value, digits and nothing else`, table.Problems[0].String())
	assert.Equal(t, "1G", table.Rows[0].Facts[GuestRAM].Text)
	assert.Equal(t, "microvm", table.Rows[0].Facts[Machine].Text)
}

func TestReadMarkdownWithVMMColumns(t *testing.T) {
	table := read(t, "testdata/columns.md")
	assert.InDelta(t, 62.5, value(t, table, "boot on stratovirt, repeat 1", BootTime).Value, 1e-9)
	assert.InDelta(t, 4.812, value(t, table, "boot on qemu, repeat 2", BootTime).Value, 1e-9)
	cpu := "cpu 16 threads on stratovirt, repeat 1"
	assert.InDelta(t, 1161.02, value(t, table, cpu, Rate).Value, 1e-9)
	assert.InDelta(t, 13.75e-3, value(t, table, cpu, Mean).Value, 1e-9)
	require.Len(t, table.Problems, 2)
	assert.Contains(t, table.Problems[0].Text, `"KB" measures a size, but mean latency is a time`)
	assert.Contains(t, table.Problems[1].Text, "a formula")
}

func TestReadSysbenchLog(t *testing.T) {
	table := read(t, "testdata/stratovirt.txt")
	assert.Equal(t, "cpu 1 thread on stratovirt, repeat 1\ncpu 16 threads on stratovirt, repeat 1\n"+
		"memory 4 x 1k seq on stratovirt, repeat 1\nfileio 1 x 4k rndrd on stratovirt, repeat 1", rowNames(table))
	assert.InDelta(t, 4736.79, value(t, table, "cpu 1 thread on stratovirt, repeat 1", Rate).Value, 0)
	assert.InDelta(t, 239.27*sysbench.MiB, value(t, table, "fileio 1 x 4k rndrd on stratovirt, repeat 1", Throughput).Value, 1)
	assert.Equal(t, "on", table.Rows[3].Facts[Direct].Text)
	require.Len(t, table.Problems, 1, "the run that did nothing")
	assert.Contains(t, table.Problems[0].Text, "sysbench did nothing")

	text, err := os.ReadFile("testdata/stratovirt.txt")
	require.NoError(t, err)
	nameless := Read("log.txt", string(text))
	assert.Empty(t, nameless.Rows)
	assert.Contains(t, nameless.Problems[0].Text, "on which VMM")
	assert.Equal(t, "gokvm", Read("log.txt", "# vmm: gokvm\n"+string(text)).Rows[0].VMM)
}

func TestReadWhatIsNoTable(t *testing.T) {
	for _, c := range []struct{ name, text, why string }{
		{"empty", " \n", "it is empty"},
		{"binary", "PK\x03\x04\x00\x00", "it is not text"},
		{"latin", "caf\xe9", "it is not text"},
		{"prose", "We measured a lot, and it was fast.\n", "no line names columns"},
		{"huge", strings.Repeat("x", MaxBytes+1), "it has 4 MiB"},
		{"long line", "BenchmarkBoot/vmm=a 1 5 ns/op\n" + strings.Repeat("y", 1<<20), "token too long"},
	} {
		table := Read(c.name, c.text)
		require.NotEmpty(t, table.Problems, c.name)
		assert.Contains(t, table.Problems[len(table.Problems)-1].String(), c.why)
	}
}

func TestReadCSVProblems(t *testing.T) {
	const header = "vmm,test,threads,block,mode,repeat,metric,unit,value\n"
	for _, c := range []struct{ line, why string }{
		{"q,cpu,4,,,1,events/s,,", ""}, // no value: nothing was measured
		{"q,cpu,4,,,1,events/s,,fast", `t.csv:2:9: "value": "fast" is not a number`},
		{"q,cpu,4,,,1,events/s,,0", "0 events/s: a run that did nothing"},
		{"q,cpu,four,,,1,events/s,,5", `t.csv:2:3: "threads": "four" is no number of threads`},
		{"q,cpu,,,,1,events/s,,5", "the cpu test does not say the number of threads"},
		{"q,gpu,4,,,1,events/s,,5", `"gpu" is no test of the course`},
		{"q,,4,,,1,events/s,,5", "of which test this is"},
		{",cpu,4,,,1,events/s,,5", "of which VMM this is"},
		{"q,cpu,4,,,x,events/s,,5", `"x" is no repeat`},
		{"q,cpu,4,,,1,speed of light,,5", "it is not said what"},
		{"q,cpu,4,,,1,events/s,ms,5", `"ms" measures a time, but operations/s is a number in a second`},
		{"q,cpu,4,,,1,latency,lightyears,5", "unknown unit"},
		{"q,cpu,4,,,1,events/s,,1,234", "10 cells under 9 headings"},
		{"q,fileio,1,4k,rndwr,1,reads/s,,5", "read of a rndwr test is 5 /s"},
		{"q,fileio,1,4k,rndwr,1,reads/s,,0", ""},
		{"q,cpu,4,,,1,events/s,,5\nq,cpu,4,,,1,events/s,,6", "has its events/s in line 2 already"},
	} {
		table := Read("t.csv", header+c.line+"\n")
		if c.why == "" {
			assert.Empty(t, table.Problems, c.line)
			continue
		}
		require.Len(t, table.Problems, 1, c.line)
		assert.Contains(t, table.Problems[0].String(), c.why)
	}
	assert.Equal(t, []string{`t.csv:1:2: the column "colour" is not looked at`}, Read("t.csv", "vmm,colour,test,boot time (s)\nq,red,boot,4\n").Notes)
	assert.Contains(t, Read("t.csv", "vmm,test,boot time,boot time\nq,boot,4,4\n").Problems[0].Text, "a second column")
	assert.Contains(t, Read("t.csv", "vmm,test,boot time\nq,boot,4\n").Notes[0], "no unit for boot time, taken for s")
}

func TestHeaders(t *testing.T) {
	for header, want := range map[string]valueField{
		"吞吐量（MiB/s）":        {meaning: meaning{Metric: Throughput}, unit: "mib/s"},
		"吞吐量/MiB/s":         {meaning: meaning{Metric: Throughput}, unit: "mib/s"},
		"read, MiB/s":       {meaning: meaning{Throughput, sysbench.Read}, unit: "mib/s"},
		"MB/s":              {meaning: meaning{Metric: Throughput}, unit: "mb/s"},
		"latency_ms":        {meaning: meaning{Metric: Mean}, unit: "ms"},
		"平均延迟[ms]":          {meaning: meaning{Metric: Mean}, unit: "ms"},
		"events per second": {meaning: meaning{Metric: Rate}},
		"写IOPS":             {meaning: meaning{Rate, sysbench.Write}},
		"boot time (s)":     {meaning: meaning{Metric: BootTime}, unit: "s"},
		"QEMU":              {vmm: "qemu"},
		"StratoVirt 第1次":    {vmm: "stratovirt", repeat: 1},
		"qemu-microvm (ms)": {vmm: "qemu-microvm", unit: "ms"},
		"run 2":             {repeat: 2},
		"第二次 (s)":           {repeat: 2, unit: "s"},
	} {
		f := parseHeader(header)
		require.NotNil(t, f.value, header)
		assert.Equal(t, want, *f.value, header)
	}
	for header, want := range map[string]column{"线程数": colThreads, "Block Size": colBlock, "bs (KB)": colBlock, "数值": colValue, "第几次": colRepeat, "平台": colVMM} {
		assert.Equal(t, want, parseHeader(header).column, header)
	}
	for header, want := range map[string]Fact{"Machine-Type": Machine, "内存大小": GuestRAM, "memory": GuestRAM, "vCPUs": VCPUs, "O_DIRECT": Direct} {
		assert.Equal(t, want, parseHeader(header).fact, header)
	}
}

func TestPattern(t *testing.T) {
	for text, want := range map[string]string{
		"rndrd": "rnd read", "rndwr": "rnd write", "seqrd": "seq read", "seqwr": "seq write", "seqrewr": "seq write", "rndrw": "rnd mixed",
		"随机读": "rnd read", "顺序写": "seq write", "Random Read": "rnd read", "sequential-write": "seq write", "randwrite": "rnd write", "seq": "seq ", "随机": "rnd ",
	} {
		access, op := pattern(text)
		assert.Equal(t, want, string(access)+" "+string(op), text)
	}
}

func TestJoin(t *testing.T) {
	const header = "vmm,test,threads,events/s,latency (ms)\n"
	a := func() *Table { return Read("a.csv", header+"q,cpu,4,1157.30,3.45\nq,cpu,4,1136.10,3.51\n") }
	joined := Join(a(), Read("b.csv", header+"q,cpu,4,1144.80,3.49\n"))
	assert.Equal(t, "cpu 4 threads on q, repeat 1\ncpu 4 threads on q, repeat 2\ncpu 4 threads on q, repeat 3", rowNames(joined))

	joined = Join(a(), Read("table.csv", "vmm,test,threads,events/s\nq,cpu,4,1157.3\nq,cpu,4,1136.1\n"))
	assert.Len(t, joined.Rows, 2, "a table of the same runs counts once")
	assert.Equal(t, []string{"a.csv and table.csv give the same run"}, joined.Notes)
}

// TestDocs reads the tables of the manual.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/measurements.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```csv\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 2)
	rows := []string{"boot on stratovirt, repeat 1\nfootprint on stratovirt, repeat 1\ncpu 4 threads on stratovirt, repeat 1\ncpu 4 threads on stratovirt, repeat 2\n" +
		"memory 4 x 1k seq on stratovirt, repeat 1\nfileio 32 x 4k rndrd on stratovirt, repeat 1\nboot on qemu, repeat 1\ncpu 4 threads on qemu, repeat 1",
		"fileio 32 x 128k rndrd on stratovirt, repeat 1\nboot on stratovirt, repeat 1\nfootprint on qemu, repeat 1\ncpu 16 threads on qemu, repeat 1"}
	for i, b := range blocks {
		table := Read(fmt.Sprintf("example %d", i+1), b[1])
		assert.Empty(t, table.Problems)
		assert.Empty(t, table.Notes)
		found, _, _ := table.Identities()
		assert.Empty(t, found)
		assert.Equal(t, rows[i], rowNames(table))
	}
	for _, anchor := range []string{"### Complete", "### Identities", "### Parity", "### Data-set", "### Repeats"} {
		assert.Contains(t, string(text), anchor+"\n", "the checks' pages point there")
	}
}
