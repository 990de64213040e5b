package sysbench

import (
	"slices"
	"time"
)

// courseTime is the run time of a cell in the course, sysbench's default.
const courseTime = 10 * time.Second

// CourseCPU lists the cells that the course asks of the cpu test.
func CourseCPU() []CPU {
	var cells []CPU
	for _, threads := range []int{1, 4, 16, 32, 64} {
		cells = append(cells, CPU{Threads: threads, Time: courseTime})
	}
	return cells
}

// CourseMemory lists the cells that the course asks of the memory test, with
// the four threads that it fixes and sysbench's default of writing. They
// end by time, for a fixed amount of data takes from no time to minutes.
func CourseMemory() []Memory {
	var cells []Memory
	for _, block := range []int64{1 * KiB, 2 * KiB, 4 * KiB, 8 * KiB} {
		for _, access := range []Access{Sequential, Random} {
			cells = append(cells, Memory{
				Threads: 4, BlockSize: block, Op: Write, Access: access, Scope: Global, Time: courseTime,
			})
		}
	}
	return cells
}

// InScope lists the cells with their threads' blocks shared, or one for each:
// the course leaves open which.
func InScope(scope Scope, cells []Memory) []Memory {
	scoped := slices.Clone(cells)
	for i := range scoped {
		scoped[i].Scope = scope
	}
	return scoped
}

// CourseFileIO lists the cells that the course asks of the fileio test, in the
// run phase. They read and write past the page cache and do not sync, so that
// the disk is measured; the data set is small for the same reason.
func CourseFileIO() []FileIO {
	loads := []struct {
		threads int
		block   int64
	}{{1, 4 * KiB}, {32, 128 * KiB}, {32, 4 * KiB}}
	var cells []FileIO
	for _, load := range loads {
		for _, mode := range []Mode{RandRead, RandWrite, SeqRead, SeqWrite} {
			cells = append(cells, FileIO{
				Threads: load.threads, BlockSize: load.block, Mode: mode,
				TotalSize: 64 * MiB, FileNum: 4, Direct: true, Time: courseTime, Phase: Run,
			})
		}
	}
	return cells
}
