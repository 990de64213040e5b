package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"virtlab/harness/image"
	"virtlab/harness/job"
	"virtlab/harness/result"
)

// BenchDiskData is where the bench disk, mounted, has room for the files of
// fileio, below its mount point.
const BenchDiskData = "data"

// benchDiskSpareMiB is the room for them: the course's data set. Each run writes
// the whole disk anew, so it has no more.
const benchDiskSpareMiB = 64

// GuestJobRecipe builds the program that does a job in a guest.
func GuestJobRecipe(root string) (Recipe, error) {
	return GoProgramRecipe(root, "guestjob", "cmd/guestjob", "harness/job", "harness/guest/wire/boottime")
}

// GuestJobProgram is the program in a result of GuestJobRecipe.
func GuestJobProgram(dir string) string { return filepath.Join(dir, "guestjob") }

// BenchInitramfsRecipes are the initramfs images of the comparison. The one to boot
// has PID 1 and the program that does a job; the one to measure in has sysbench
// and its libraries too. They are no larger than they must be, as a boot unpacks
// them, and they are not the disk's, as gokvm's disk loses interrupts now and then
// (docs/architecture.md). Both arguments are results: of PID 1 and GuestJobRecipe.
func BenchInitramfsRecipes(guestinit, guestjob string) (boot, measure Recipe, err error) {
	sysbench, in, err := hostSysbench()
	if err != nil {
		return boot, measure, err
	}
	inputs := []string{"1", filepath.Base(guestinit), filepath.Base(guestjob)}
	lean := func(t *image.Tree) error {
		return errors.Join(t.File("/init", filepath.Join(guestinit, "guestinit")), t.File("/bin/guestjob", GuestJobProgram(guestjob)))
	}
	full := func(t *image.Tree) error { return errors.Join(lean(t), t.Program("/bin/sysbench", sysbench)) }
	return packRecipe("bench-boot", inputs, lean), packRecipe("bench-measure", append(inputs, in), full), nil
}

// packRecipe packs an initramfs.
func packRecipe(name string, inputs []string, fill func(*image.Tree) error) Recipe {
	return Recipe{
		Name: name, Inputs: inputs, Expect: time.Second,
		Make: func(_ context.Context, dir string, log *Log) error {
			log.Step("packing")
			var t image.Tree
			if err := fill(&t); err != nil {
				return err
			}
			f, err := os.Create(filepath.Join(dir, "initramfs"))
			if err != nil {
				return err
			}
			return errors.Join(t.WriteInitramfs(f), f.Close())
		},
	}
}

// hostSysbench is this host's sysbench, which guests get, and the input that it is
// to a recipe.
func hostSysbench() (path, input string, err error) {
	path, err = exec.LookPath("sysbench")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", "", result.Errorf(result.Host, "the guests of the comparison: %w", err).WithHint("run make setup")
	}
	input, err = FileInput(path)
	return path, input, err
}

// BenchDiskRecipe makes the disk of the comparison: a raw ext4 image with spareMiB
// of room in /data; behind the file system is the place of a job (job.TailBytes).
func BenchDiskRecipe(spareMiB int64) Recipe {
	return Recipe{
		Name: "benchdisk", Inputs: []string{"2", fmt.Sprint(spareMiB)}, Expect: 2 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			log.Step("mkfs.ext4")
			return writeBenchDisk(ctx, benchDisk(dir), spareMiB)
		},
	}
}

// benchDisk is the image in a result of BenchDiskRecipe.
func benchDisk(dir string) string { return filepath.Join(dir, "bench.ext4") }

func writeBenchDisk(ctx context.Context, path string, spareMiB int64) error {
	var tree image.Tree
	err := tree.Data("/"+BenchDiskData+"/README", []byte("The files of sysbench fileio come here.\n"), 0o644)
	if err != nil {
		return err
	}
	if err := tree.WriteRoomyDisk(ctx, path, "virtlab-bench", spareMiB); err != nil {
		return err
	}
	return addTail(path)
}

// addTail makes room for a job behind a file system.
func addTail(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, st.Size()+job.TailBytes)
}
