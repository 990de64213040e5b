package measure

import (
	"regexp"
	"strconv"
	"strings"

	"virtlab/harness/sysbench"
)

// column is what a column of a table holds.
type column string

// The columns that say what was measured; metrics and facts have columns, too.
const (
	colVMM     column = "vmm"
	colTest    column = "test"
	colThreads column = "threads"
	colBlock   column = "block"
	colMode    column = "mode"
	colAccess  column = "access"
	colOp      column = "operation"
	colScope   column = "scope"
	colMetric  column = "metric"
	colUnit    column = "unit"
	colValue   column = "value"
	colRepeat  column = "repeat"
)

// lookup makes a table of synonyms, separated by "|", as fold writes them.
func lookup[T any](synonyms map[string]T) map[string]T {
	table := make(map[string]T, 4*len(synonyms))
	for names, meaning := range synonyms {
		for name := range strings.SplitSeq(names, "|") {
			table[fold(name)] = meaning
		}
	}
	return table
}

var columns = lookup(map[string]column{
	"vmm|hypervisor|vm|platform|虚拟机|平台|方案|虚拟化平台|虚拟化方案|虚拟机监控器":    colVMM,
	"test|benchmark|experiment|测试|测试项|测试项目|测试内容|项目|实验":           colTest,
	"threads|thread|num threads|线程|线程数|并发|并发数":                   colThreads,
	"block|block size|blocksize|bs|块|块大小|内存块大小|块尺寸":              colBlock,
	"mode|pattern|test mode|file test mode|模式|测试模式|读写模式|读写方式|类型": colMode,
	"access|access mode|memory access mode|访问|访问方式|访问模式":         colAccess,
	"op|oper|operation|memory oper|操作|操作类型":                      colOp,
	"scope|memory scope|范围|作用域":                                  colScope,
	"metric|measure|指标|度量":                                       colMetric,
	"unit|units|单位":                                              colUnit,
	"value|result|values|值|数值|结果|测试结果|数据":                        colValue,
	"repeat|run|iteration|trial|round|重复|轮次|次数|第几次|次序|序号":        colRepeat,
})

var factNames = lookup(map[string]Fact{
	"machine|machine type|机器|机器类型|机型|虚拟机类型":                                        Machine,
	"memory size|guest memory|guest ram|ram|vm memory|内存大小|客户机内存|虚拟机内存|memory mib": GuestRAM,
	"vcpu|vcpus|cpus|smp|cores|核数|虚拟cpu数|cpu数|vcpu数":                               VCPUs,
	"kernel|guest kernel|内核|内核版本|客户机内核":                                            Kernel,
	"accel|accelerator|加速|加速器":                                                     Accel,
	"data set|dataset|file total size|total file size|数据集|数据集大小|文件总大小|测试文件大小":      DataSet,
	"direct|o direct|direct io|direct i/o|file extra flags|extra flags|直接io|直接i/o": Direct,
})

// factLines are facts as lines of their own may name them: there "memory" and
// "time" are no tests or metrics.
var factLines = lookup(map[string]Fact{
	"memory|内存": GuestRAM, "time|run time|duration|测试时间|时间": RunTime, "vmm|hypervisor|平台": statedVMM, "test|测试": statedOne,
})

// meaning is what a metric's name says.
type meaning struct {
	Metric Metric
	Dir    sysbench.Operation // only of the reads or the writes; "" for all
}

var metrics = lookup(map[string]meaning{
	"boot|boot time|startup|startup time|start time|启动|启动时间|启动耗时|总启动时间|boot duration":                     {Metric: BootTime},
	"rss|resident|resident memory|resident set size|常驻内存|物理内存|实际内存|内存占用|memory usage|footprint|rss total": {Metric: RSS},
	"virtual|virtual size|vsz|vss|vsize|kbytes|total kbytes|虚拟内存|虚拟内存大小":                                  {Metric: Virtual},
	"pss": {Metric: PSS}, "uss": {Metric: USS}, "dirty|脏页|own": {Metric: unused},
	"rate|events/s|events per second|event/s|events/sec|ops/s|ops|ops/sec|op/s|operations/s|operations per second|ops per second|iops|total iops|requests/s|每秒事件数|事件数/秒|每秒操作数|每秒操作次数|操作数/秒|每秒请求数|事件/秒": {Metric: Rate},
	"reads/s|read iops|iops read|r iops|读iops|读 iops|每秒读|读/秒":                                                                       {Rate, sysbench.Read},
	"writes/s|write iops|iops write|w iops|写iops|写 iops|每秒写|写/秒":                                                                    {Rate, sysbench.Write},
	"fsyncs/s|fsync/s|min|max|min latency|max latency|latency min|latency max|latency sum|最小延迟|最大延迟|标准差|stddev|sum":                 {Metric: unused},
	"throughput|bandwidth|transfer rate|mib/s|mb/s|mib/sec|mb/sec|kib/s|gib/s|吞吐|吞吐量|吞吐率|带宽|传输速率|传输速度|速率|速度":                        {Metric: Throughput},
	"read throughput|throughput read|read bandwidth|read mib/s|read, mib/s|读吞吐量|读带宽|读取吞吐量|读速度":                                      {Throughput, sysbench.Read},
	"write throughput|throughput write|write bandwidth|write mib/s|written mib/s|written, mib/s|写吞吐量|写带宽|写入吞吐量|写速度":                 {Throughput, sysbench.Write},
	"latency|mean|mean latency|latency mean|avg|avg latency|latency avg|avg lat|average latency|lat|lat avg|延迟|平均延迟|平均时延|时延|平均响应时间": {Metric: Mean},
	"p95|p95 latency|latency p95|95th percentile|95%延迟|95% latency|95th percentile latency|p95延迟":                                   {Metric: P95},
	"events|total events|total number of events|total operations|operations|总事件数|事件总数|事件数|总操作数|操作次数":                                {Metric: Events},
	"total|total size|transferred|total transferred|total mib|mib transferred|传输总量|总传输量|总数据量":                                       {Metric: Total},
	"duration|time|total time|run time|总时间|时间|测试时间|运行时间|耗时|用时":                                                                      {Metric: Duration},
})

// aggregates head columns and rows of what was computed from the repeats.
var aggregates = lookup(map[string]bool{"avg|average|mean|平均|平均值|均值|median|中位数|stddev|标准差|min|max|最大值|最小值|提升|差异|对比|ratio|diff|备注|note|notes|comment|说明": true})

// absent is how people write that there is no value.
var absent = lookup(map[string]bool{"|-|--|—|/|\\|n/a|na|none|null|无|未测|空": true})

var testNames = lookup(map[string]Test{
	"boot|boot time|startup|startup time|启动|启动时间|开机|启动性能|linux启动时间":                                                     Boot,
	"footprint|memory footprint|memory usage|mem usage|rss|pmap|内存占用|内存开销|vmm memory|内存用量":                              Footprint,
	"cpu|sysbench cpu|cpu性能|sysbenchcpu|处理器|cpu 性能":                                                                     CPU,
	"sysbench memory|sysbench mem|sysbenchmemory|memory performance|内存性能|内存带宽|memory bandwidth|内存速度":                    Memory,
	"fileio|file io|file i/o|io|i/o|disk|disk io|sysbench fileio|sysbenchfileio|磁盘|磁盘io|磁盘i/o|i/o性能|io性能|文件io|文件i/o|存储": FileIO,
})

// eitherMemory are names for the VMM's footprint and for sysbench's memory test;
// the rest of the row tells.
var eitherMemory = lookup(map[string]bool{"memory|mem|内存": true})

// testOf finds the test that a name means. A name of both memory tests gives ""
// and true.
func testOf(name string) (t Test, known bool) {
	name = fold(name)
	if t, ok := testNames[name]; ok {
		return t, true
	}
	if eitherMemory[name] {
		return "", true
	}
	short := strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(name, "测试"), "test"))
	if t, ok := testNames[short]; ok {
		return t, true
	}
	return "", eitherMemory[short]
}

// patternWords are what modes are made of, in the order they are looked for.
var patternWords = []struct {
	words  []string
	access sysbench.Access
	op     sysbench.Operation
}{
	{words: []string{"seq", "顺序"}, access: sysbench.Sequential},
	{words: []string{"rnd", "rand", "随机"}, access: sysbench.Random},
	{words: []string{"读写", "rndrw", "r/w", "read/write", "randrw", "mixed", "混合"}, op: Mixed},
	{words: []string{"write", "wr", "写"}, op: sysbench.Write},
	{words: []string{"read", "rd", "读"}, op: sysbench.Read},
}

// pattern reads a mode: "rndrd", "sequential write", "随机读".
func pattern(text string) (access sysbench.Access, op sysbench.Operation) {
	s := fold(text)
	for _, p := range patternWords {
		for _, w := range p.words {
			if !strings.Contains(s, w) {
				continue
			}
			if access == "" {
				access = p.access
			}
			if op == "" {
				op = p.op
			}
		}
	}
	return access, op
}

// scopeOf reads the scope of a memory test.
func scopeOf(text string) sysbench.Scope {
	if s := fold(text); strings.Contains(s, "local") || strings.Contains(s, "局部") {
		return sysbench.Local
	}
	return sysbench.Global
}

// vmmName is a VMM's name as it is compared.
func vmmName(text string) string { return strings.ReplaceAll(fold(text), " ", "-") }

// vmmWords are names of VMMs that files and columns may be called after.
var vmmWords = regexp.MustCompile(`stratovirt|qemu(-(pc|q35|microvm))?|firecracker|cloud-hypervisor|gokvm|crosvm`)

// family is the program behind a VMM's name: qemu-pc and qemu-microvm are one.
func family(vmm string) string {
	for _, program := range []string{"stratovirt", "qemu"} {
		if strings.Contains(vmm, program) {
			return program
		}
	}
	return vmm
}

// bareMetal are names of what is no VMM: a student may measure the host, too.
var bareMetal = regexp.MustCompile(`^(host|native|bare-?metal|physical|宿主机|物理机|主机)$`)

var (
	firstNumber  = regexp.MustCompile(`[0-9]+`)
	repeatHeader = regexp.MustCompile(`^(?:第 ?([0-9]+|[一二三四五六七八九十]) ?[次轮]|(?:run|repeat|trial|round|次数|次) ?#?([0-9]+))$`)
	chineseDigit = map[string]int{"一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10}
)

// repeatOf reads which repeat a column is headed by: "run 2", "第2次", "第二次".
func repeatOf(text string) (int, bool) {
	m := repeatHeader.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	digits := m[1] + m[2]
	if n, ok := chineseDigit[digits]; ok {
		return n, true
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}
