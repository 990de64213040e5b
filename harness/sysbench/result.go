package sysbench

// General is what every test reports.
type General struct {
	Version   string  `json:"version"` // of sysbench: "1.0.20"
	Threads   int     `json:"threads"`
	TotalTime float64 `json:"totalTimeSeconds"`
	Events    int64   `json:"events"`
	Latency   Latency `json:"latency"`

	// Means over the threads, with their standard deviations.
	EventsPerThread       float64 `json:"eventsPerThread"`
	EventsPerThreadStddev float64 `json:"eventsPerThreadStddev"`
	BusyPerThread         float64 `json:"busyPerThreadSeconds"` // sysbench's "execution time"
	BusyPerThreadStddev   float64 `json:"busyPerThreadStddevSeconds"`

	Warnings []string `json:"warnings,omitempty"`
}

// Latency is the time of one event, in milliseconds with two decimals: short
// events read 0.00. MeanMS of General is finer.
type Latency struct {
	MinMS float64 `json:"minMilliseconds"`
	AvgMS float64 `json:"avgMilliseconds"`
	MaxMS float64 `json:"maxMilliseconds"`
	P95MS float64 `json:"p95Milliseconds"` // upper edge of a histogram bucket: can exceed MaxMS
	SumMS float64 `json:"sumMilliseconds"` // over all events
}

// MeanMS is the time in milliseconds that a thread took for an event, from
// totals that are not rounded to hundredths: threads x time / events. Unlike
// Latency.AvgMS it includes what passed between events.
func (g General) MeanMS() float64 {
	return float64(g.Threads) * g.TotalTime * 1000 / float64(g.Events)
}

// CPUResult is the report of the cpu test.
type CPUResult struct {
	General
	MaxPrime        int     `json:"maxPrime"`
	EventsPerSecond float64 `json:"eventsPerSecond"`
}

// MemoryResult is the report of the memory test. sysbench does not print the
// access mode; it is there when the result was parsed by Memory.Parse.
type MemoryResult struct {
	General
	BlockKiB            int64     `json:"blockKiB"`
	TotalMiB            int64     `json:"totalMiB"` // the limit asked for, 0: none
	Op                  Operation `json:"operation"`
	Access              Access    `json:"access,omitempty"`
	Scope               Scope     `json:"scope"`
	Operations          int64     `json:"operations"`
	OperationsPerSecond float64   `json:"operationsPerSecond"`
	TransferredMiB      float64   `json:"transferredMiB"`
	MiBPerSecond        float64   `json:"mibPerSecond"`
}

// FileIOResult is the report of the fileio test's run phase. Its Events count
// the syncs too.
type FileIOResult struct {
	General
	Mode              Mode    `json:"mode"`
	Flags             string  `json:"flags"` // to open: "directio", "(none)", ...
	Files             int     `json:"files"`
	TotalBytes        int64   `json:"totalBytes"` // of all files
	BlockBytes        int64   `json:"blockBytes"`
	ReadsPerSecond    float64 `json:"readsPerSecond"`
	WritesPerSecond   float64 `json:"writesPerSecond"`
	FsyncsPerSecond   float64 `json:"fsyncsPerSecond"`
	ReadMiBPerSecond  float64 `json:"readMiBPerSecond"`
	WriteMiBPerSecond float64 `json:"writtenMiBPerSecond"`
}

// IOPS is the number of reads and writes in a second.
func (r FileIOResult) IOPS() float64 { return r.ReadsPerSecond + r.WritesPerSecond }

// MiBPerSecond is what was read and written in a second.
func (r FileIOResult) MiBPerSecond() float64 { return r.ReadMiBPerSecond + r.WriteMiBPerSecond }
