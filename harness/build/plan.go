package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"virtlab/harness/guest/wire"
	"virtlab/harness/image"
	"virtlab/harness/result"
)

// SetupMinutes is what a first setup takes on two cores.
const SetupMinutes = 9

// Setup builds whatever of the assets is missing. root is the project's
// directory.
func Setup(ctx context.Context, root string, c *Cache) (*Assets, error) {
	return assemble(ctx, root, c.Get)
}

// Find gives the assets without building what takes long: a missing kernel or
// QEMU is an error that names make setup. What takes seconds (our own Go
// programs and the images with them) is made anew when its source changed.
func Find(root string, c *Cache) (*Assets, error) {
	if dir := os.Getenv(AssetsVariable); dir != "" {
		return readManifest(dir)
	}
	a, err := assemble(context.Background(), root, func(ctx context.Context, r Recipe) (string, error) {
		if dir, ok := c.Lookup(r); ok {
			return dir, nil
		}
		if r.Expect > quick {
			return "", fmt.Errorf("%s: %w", r.Key(), errMissing)
		}
		return c.Get(ctx, r)
	})
	if err != nil && errors.Is(err, errMissing) {
		return nil, result.Errorf(result.Host, "the labs' kernel, QEMU and images are not all built (%w): run make setup (about %d minutes the first time)", err, SetupMinutes)
	}
	return a, err
}

// quick is how long a build may take that a test run does on its own.
const quick = 20 * time.Second

var errMissing = errors.New("not built yet")

// getter gives the directory of a recipe's result.
type getter func(context.Context, Recipe) (string, error)

// assembly collects the directories of all results. The first error sticks.
type assembly struct {
	ctx context.Context
	get getter
	err error
}

func (a *assembly) want(r Recipe, err error) (dir string) {
	if a.err == nil {
		a.err = err
	}
	if a.err == nil {
		dir, a.err = a.get(a.ctx, r)
	}
	return dir
}

// assemble is the plan of the whole house: what is made from what.
func assemble(ctx context.Context, root string, get getter) (*Assets, error) {
	a := &assembly{ctx: ctx, get: get}
	fixture := func(name string) string { return filepath.Join(root, "fixtures", name) }

	kernel := Kernel{a.want(a.kernelRecipe(fixture("kernel")))}
	qemu := a.want(a.missing(QEMURecipe(ctx, fixture("qemu"))))
	if a.err != nil {
		return nil, a.err
	}
	reference := a.want(referenceQEMU(qemu, fixture("qemu")))
	modules := []string{
		a.want(KVMRecipe(kernel, fixture("kernel/hypercall22.c"))),
		a.want(ModuleRecipe("gpt-dump", fixture("mem"), kernel)),
		a.want(ModuleRecipe("edu", fixture("io"), kernel)),
		a.want(ModuleRecipe("trouble", fixture("guest"), kernel)),
		a.want(MutantModulesRecipe("io-mutants", fixture("io"), fixture("mutants/io"), kernel)),
	}
	a.want(ModulePlanRecipe(kernel), nil)
	programs := []string{
		a.want(CProgramsRecipe("cpu-programs", []string{
			fixture("cpu/sample-qemu.c"), fixture("cpu/modified-qemu.c"), fixture("mutants/cpu/guest-upper-cased.c")})),
		a.want(CProgramsRecipe("io-programs", []string{fixture("io/test/test.c")}, fixture("io/edu_ioctl.h"))),
		a.want(GoProgramRecipe(root, "virtlab", "cmd/virtlab", "harness")),
	}
	init := a.want(GoProgramRecipe(root, "guestinit", "cmd/guestinit", "harness/guest/wire"))
	if a.err != nil {
		return nil, a.err
	}
	initramfs := a.want(initramfsRecipe(init), nil)
	guestjob := a.want(GuestJobRecipe(root))
	gokvm := a.want(GoToolRecipe(root, "gokvm", "github.com/bobuhiro11/gokvm"))
	bench := a.want(BenchDiskRecipe(benchDiskSpareMiB), nil)
	bootRecipe, measureRecipe, err := BenchInitramfsRecipes(init, guestjob)
	benchBoot, benchMeasure := a.want(bootRecipe, err), a.want(measureRecipe, err)
	t := toolsDisk{
		qemu: qemu, reference: reference, kernel: kernel, initramfs: initramfs, benchBoot: benchBoot, benchMeasure: benchMeasure,
		modules: modules, programs: append(programs, gokvm),
	}
	tools := a.want(t.recipe())
	if a.err != nil {
		return nil, a.err
	}
	return &Assets{
		QEMU: QEMUBinary(qemu), QEMUReference: QEMUBinary(reference), Firmware: QEMUFirmware(qemu),
		QEMUDir: qemu, Kernel: kernel.Dir,
		BzImage: kernel.BzImage(), Vmlinux: kernel.VMLinux(), Initramfs: filepath.Join(initramfs, "initramfs"),
		Modules: filepath.Join(tools, "modules"), Programs: filepath.Join(tools, "programs"), Tools: filepath.Join(tools, "tools.ext4"),
		BenchBoot: filepath.Join(benchBoot, "initramfs"), BenchMeasure: filepath.Join(benchMeasure, "initramfs"),
		BenchDisk: benchDisk(bench), GoKVM: filepath.Join(gokvm, "gokvm"),
	}, nil
}

// missing marks an error of a recipe that cannot even be named: its packages are
// not installed.
func (a *assembly) missing(r Recipe, err error) (Recipe, error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", errMissing, err)
	}
	return r, err
}

func (a *assembly) kernelRecipe(fixtures string) (Recipe, error) {
	src, err := FindKernelSource(KernelSourceDir)
	if err != nil {
		return a.missing(Recipe{}, err)
	}
	return KernelRecipe(src, fixtures)
}

// referenceQEMU is the QEMU with the reference function in its edu device.
func referenceQEMU(qemuDir, fixtures string) (Recipe, error) {
	edu, err := referenceEdu(qemuDir, fixtures)
	return EduVariantRecipe(qemuDir, "edu-reference", edu), err
}

func referenceEdu(qemuDir, fixtures string) ([]byte, error) {
	stock, err := StockEdu(qemuDir)
	if err != nil {
		return nil, err
	}
	return InsertFunction(stock, fixtures)
}

// initramfsRecipe packs PID 1 and nothing else.
func initramfsRecipe(guestinit string) Recipe {
	return packRecipe("initramfs", []string{filepath.Base(guestinit)}, func(t *image.Tree) error {
		return t.File("/init", filepath.Join(guestinit, "guestinit"))
	})
}

// toolsDisk is the read-only disk that makes a guest a machine to work on: L1.
type toolsDisk struct {
	qemu, reference   string
	kernel            Kernel
	initramfs         string
	benchBoot         string
	benchMeasure      string
	modules, programs []string
}

// debianTools are programs of this host that guests get, with their libraries.
var debianTools = []string{"lspci", "sysbench"}

// ToolsPackages lists what the tools disk is made with.
func ToolsPackages() []Package {
	return []Package{
		{"e2fsprogs", "e2fsprogs", "mkfs.ext4 makes disk images", "/sbin/mkfs.ext4"},
		{"pciutils", "pciutils", "lspci, which looks at the edu device in the guest", "lspci"},
		{"sysbench", "sysbench", "the comparison lab measures with it", "sysbench"},
		{"bubblewrap", "bubblewrap", "the sandbox in which students' programs are compiled", "bwrap"},
	}
}

// recipe makes the disk. Its directory also has the modules and programs as
// files, for guests without the disk.
func (t toolsDisk) recipe() (Recipe, error) {
	inputs := []string{"3"}
	for _, d := range []string{t.qemu, t.reference, t.kernel.Dir, t.initramfs, t.benchBoot, t.benchMeasure} {
		inputs = append(inputs, filepath.Base(d))
	}
	for _, d := range append(t.modules, t.programs...) {
		inputs = append(inputs, filepath.Base(d))
	}
	for _, name := range debianTools {
		p, err := exec.LookPath(name)
		if err != nil {
			return Recipe{}, result.Errorf(result.Host, "the tools disk: %w", err).WithHint("run make setup")
		}
		in, err := FileInput(p)
		if err != nil {
			return Recipe{}, err
		}
		inputs = append(inputs, in)
	}
	return Recipe{Name: "tools", Inputs: inputs, Expect: 5 * time.Second, Make: t.make}, nil
}

func (t toolsDisk) make(ctx context.Context, dir string, log *Log) error {
	log.Step("collecting")
	for sub, from := range map[string][]string{"modules": t.modules, "programs": t.programs} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
		for _, d := range from {
			if err := copyInto(filepath.Join(dir, sub), d); err != nil {
				return err
			}
		}
	}
	tree, err := t.tree(dir)
	if err != nil {
		return err
	}
	log.Step("mkfs.ext4")
	return tree.WriteDisk(ctx, filepath.Join(dir, "tools.ext4"))
}

// tree lays the disk out as GuestAssets says.
func (t toolsDisk) tree(dir string) (*image.Tree, error) {
	var tree image.Tree
	at := GuestAssets("")
	list, err := json.MarshalIndent(GuestAssets(wire.ToolsDir), "", "\t")
	if err != nil {
		return nil, err
	}
	errs := []error{
		tree.Data("/"+manifest, list, 0o644),
		tree.File(at.QEMU, QEMUBinary(t.qemu)),
		tree.File(at.QEMUReference, QEMUBinary(t.reference)),
		tree.File(at.BzImage, t.kernel.BzImage()),
		tree.File(at.Initramfs, filepath.Join(t.initramfs, "initramfs")),
		tree.File(at.BenchBoot, filepath.Join(t.benchBoot, "initramfs")),
		tree.File(at.BenchMeasure, filepath.Join(t.benchMeasure, "initramfs")),
		addDir(&tree, at.Firmware, QEMUFirmware(t.qemu)),
		addDir(&tree, at.Modules, filepath.Join(dir, "modules")),
		addDir(&tree, at.Programs, filepath.Join(dir, "programs")),
	}
	for _, name := range debianTools {
		p, err := exec.LookPath(name)
		if err == nil {
			p, err = filepath.EvalSymlinks(p)
		}
		errs = append(errs, err, tree.Program("/bin/"+name, p))
	}
	return &tree, errors.Join(errs...)
}

func addDir(tree *image.Tree, guestDir, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		host, err := filepath.EvalSymlinks(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		if err := tree.File(guestDir+"/"+f.Name(), host); err != nil {
			return err
		}
	}
	return nil
}
