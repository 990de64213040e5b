package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/google/shlex"

	"virtlab/harness/result"
)

// What a result of QEMURecipe or EduVariantRecipe holds.
const (
	qemuBinary   = "qemu-system-x86_64"
	qemuFirmware = "firmware"
	qemuVersions = "versions" // the source packages that it was made from, one a line
	qemuTree     = "tree"     // pruned source and build tree, for variants
	qemuEduPlan  = "edu.json" // how a variant is compiled and linked, an eduPlan
	qemuEduStock = "edu.c"    // the device as Debian has it
	eduInTree    = "hw/misc/edu.c"
	qemuDevices  = "virtlab" // our device list's name for configure
)

// QEMUBinary is the path of qemu-system-x86_64 in dir, a result of QEMURecipe
// or EduVariantRecipe. It is linked statically and finds its firmware in the
// directory "firmware" beside it, so the two can be copied into any guest. It
// wants -nodefaults, having neither the VGA nor the network card that pc and
// q35 come with, and romfile= for virtio-net-pci, as there are no boot ROMs.
func QEMUBinary(dir string) string { return filepath.Join(dir, qemuBinary) }

// QEMUFirmware is the firmware directory (-L) in dir, a result of QEMURecipe
// or EduVariantRecipe.
func QEMUFirmware(dir string) string { return filepath.Join(dir, qemuFirmware) }

// StockEdu is the source of the edu device in dir, a result of QEMURecipe.
func StockEdu(dir string) ([]byte, error) {
	return os.ReadFile(filepath.Join(dir, qemuEduStock))
}

// firmwareFiles are the files that the machines pc, q35 and microvm open, as
// seen with strace(1); all others in Debian's packages are for other machines
// or for a display.
var firmwareFiles = []string{
	"/usr/share/seabios/bios-256k.bin", // pc, q35
	"/usr/share/qemu/kvmvapic.bin",     // pc, q35: the local APIC's task priority patching
	"/usr/share/qemu/qboot.rom",        // microvm,acpi=off
	// microvm. Under this name Debian's qemu-system-data has qboot. With the
	// SeaBIOS of the same name in the package seabios 10 of 20 PVH boots under
	// TCG did not get to PID 1 within 5 s on a busy machine, with qboot all did.
	"/usr/share/qemu/bios-microvm.bin",
	"/usr/share/qemu/linuxboot_dma.bin", // -kernel bzImage
	"/usr/share/qemu/pvh.bin",           // -kernel vmlinux (PVH)
	"/usr/share/qemu/multiboot_dma.bin", // -kernel with a multiboot header; no lab has one yet
}

// qemuConfigure turns off what the labs do not use, which leaves 1267 build
// steps (1441 with the default devices). Static, because L1 and the images then need one file and
// no libraries, and it starts in 3 ms.
var qemuConfigure = []string{
	"--target-list=x86_64-softmmu",
	"--without-default-features", "--without-default-devices", "--with-devices-x86_64=" + qemuDevices,
	"--enable-system", "--enable-tcg", "--enable-kvm",
	"--enable-trace-backends=log", // the device-side evidence of the I/O lab
	"--enable-linux-aio",          // cache.direct with aio=native, for the comparison lab
	"--enable-seccomp",            // -sandbox on
	"--enable-slirp",              // -netdev user
	"--enable-fdt=system",         // the build system insists on it, microvm's generic boards too
	"--static", "--enable-pie", "--disable-debug-info", "--disable-werror", "--disable-install-blobs",
	"--with-git-submodules=ignore",
	// Data files are found relative to the binary: PREFIX is made up, what
	// counts is that firmware lies in the directory of the binary.
	"--prefix=/virtlab", "--bindir=/virtlab", "--firmwarepath=/virtlab/" + qemuFirmware,
}

// qemuRecipeVersion changes when the recipe's code makes something else from
// the same inputs.
const qemuRecipeVersion = "1"

// QEMURecipe builds QEMU from Debian's source package, for x86-64 guests only
// and with the devices listed in devices.mak of fixtures, the directory
// fixtures/qemu. Its result has the binary, its firmware and the stock edu.c,
// and what EduVariantRecipe needs to swap that file within a second.
func QEMURecipe(ctx context.Context, fixtures string) (Recipe, error) {
	devices, err := os.ReadFile(filepath.Join(fixtures, "devices.mak"))
	if err != nil {
		return Recipe{}, err
	}
	// Packages that are installed say which sources to take: qemu-system-data
	// (the firmware) comes from QEMU's, libslirp-dev from libslirp's.
	qemu, err := SourceOf(ctx, "qemu-system-data")
	if err != nil {
		return Recipe{}, err
	}
	slirp, err := SourceOf(ctx, "libslirp-dev")
	if err != nil {
		return Recipe{}, err
	}
	linked, err := InstalledVersions(ctx, qemuLinked...)
	if err != nil {
		return Recipe{}, err
	}
	b := &qemuBuild{devices: devices, qemu: qemu, slirp: slirp}
	return Recipe{
		Name:   "qemu",
		Inputs: []string{qemuRecipeVersion, strings.Join(qemuConfigure, " "), string(devices), insertionsInput(qemuInsertions), qemu.String(), slirp.String(), linked},
		Expect: 2 * time.Minute,
		Make:   b.make,
	}, nil
}

// qemuLinked are the packages whose files end up in the result.
var qemuLinked = []string{"gcc", "libaio-dev", "libc6-dev", "libfdt-dev", "libglib2.0-dev", "libpcre2-dev", "libpixman-1-dev",
	"libseccomp-dev", "qemu-system-data", "seabios", "zlib1g-dev"}

// qemuBuild is one build under way; its paths are set by make.
type qemuBuild struct {
	devices     []byte
	qemu, slirp SourcePackage

	dir string // the result
	log *Log
}

func (b *qemuBuild) tree() string  { return filepath.Join(b.dir, qemuTree) }
func (b *qemuBuild) build() string { return filepath.Join(b.tree(), "build") }

// slirpPrefix is where libslirp is installed for QEMU's configure. It lies
// within the tree because variants link it again.
func (b *qemuBuild) slirpPrefix() string { return filepath.Join(b.tree(), "libslirp") }

func (b *qemuBuild) make(ctx context.Context, dir string, log *Log) error {
	b.dir, b.log = dir, log
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"fetching sources", b.fetch},
		{"patching", b.patch},
		{"building libslirp", b.buildSlirp},
		{"configuring", b.configure},
		{"compiling", b.compile},
		{"collecting", b.collect},
	} {
		log.Step("%s", step.name)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fetch unpacks both sources, QEMU's as the tree.
func (b *qemuBuild) fetch(ctx context.Context) error {
	archive, err := NewSourceArchive(ctx, filepath.Join(b.dir, "apt"), b.log)
	if err != nil {
		return err
	}
	if b.qemu, err = archive.Unpack(ctx, b.qemu, b.tree()); err != nil {
		return err
	}
	if b.slirp, err = archive.Unpack(ctx, b.slirp, b.slirpSource()); err != nil {
		return err
	}
	versions := fmt.Sprintf("%s\n%s\n", b.qemu, b.slirp)
	return os.WriteFile(filepath.Join(b.dir, qemuVersions), []byte(versions), 0o644)
}

func (b *qemuBuild) patch(context.Context) error {
	return insertAll(b.tree(), qemuInsertions, "what mends it",
		"this QEMU differs from those known (7.2): look whether it still needs qemuInsertions")
}

func (b *qemuBuild) slirpSource() string { return filepath.Join(b.dir, "libslirp-source") }

// buildSlirp builds libslirp.a, which Debian's libslirp-dev lacks.
func (b *qemuBuild) buildSlirp(ctx context.Context) error {
	src := b.slirpSource()
	if err := b.log.Run(ctx, src, nil, "meson", "setup", "build", "--default-library=static", "--buildtype=release",
		"-Db_staticpic=true", "--prefix="+b.slirpPrefix(), "--libdir=lib"); err != nil {
		return err
	}
	return b.log.Run(ctx, src, nil, "meson", "install", "-C", "build")
}

func (b *qemuBuild) configure(ctx context.Context) error {
	devices := filepath.Join(b.tree(), "configs/devices/x86_64-softmmu", qemuDevices+".mak")
	if err := os.WriteFile(devices, b.devices, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(b.build(), 0o755); err != nil {
		return err
	}
	argv := append([]string{"../configure", "--with-pkgversion=virtlab, " + b.qemu.Version}, qemuConfigure...)
	env := []string{"PKG_CONFIG_PATH=" + filepath.Join(b.slirpPrefix(), "lib/pkgconfig")}
	return b.log.Run(ctx, b.build(), env, argv...)
}

func (b *qemuBuild) compile(ctx context.Context) error {
	return b.log.Run(ctx, b.build(), nil, "ninja", fmt.Sprintf("-j%d", runtime.NumCPU()), qemuBinary)
}

func (b *qemuBuild) collect(ctx context.Context) error {
	if err := b.log.Run(ctx, b.dir, nil, "strip", "-o", qemuBinary, filepath.Join(b.build(), qemuBinary)); err != nil {
		return err
	}
	if err := copyFirmware(QEMUFirmware(b.dir)); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(b.dir, qemuEduStock), filepath.Join(b.tree(), eduInTree)); err != nil {
		return err
	}
	if err := b.writeEduPlan(ctx); err != nil {
		return err
	}
	for _, done := range []string{b.slirpSource(), filepath.Join(b.dir, "apt")} {
		if err := os.RemoveAll(done); err != nil {
			return err
		}
	}
	return prune(b.tree(), keptQEMUFile)
}

func copyFirmware(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range firmwareFiles {
		if err := copyFile(filepath.Join(dir, filepath.Base(file)), file); err != nil {
			return result.Errorf(result.Host, "firmware: %w", err).WithHint("reinstall qemu-system-data and seabios")
		}
	}
	return nil
}

// copyFile copies a file with its permissions.
func copyFile(dst, src string) error {
	st, err := os.Stat(src)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, st.Mode().Perm())
}

// What compiling edu.c and linking QEMU read, about 40 MB of the tree.
var (
	keptQEMUTypes   = map[string]bool{".h": true, ".inc": true, ".def": true, ".o": true, ".a": true, ".fa": true, ".syms": true}
	foreignQEMUDirs = regexp.MustCompile(`^(roms|tests|docs|debian|\.pc|linux-user|bsd-user|subprojects|(target|tcg)/[^i][^/]*)/`)
)

func keptQEMUFile(name string) bool {
	return keptQEMUTypes[filepath.Ext(name)] && !foreignQEMUDirs.MatchString(name)
}

// eduPlan is how edu.c is compiled and linked into QEMU, both run in the build
// directory. No argument names the directory in which QEMU was built, because
// the cache renames that when it is complete.
type eduPlan struct {
	Compile []string // with eduSource and eduObject in place of the two files
	Link    []string // with eduObject and eduBinary
}

const (
	eduSource = "@SOURCE@"
	eduObject = "@OBJECT@"
	eduBinary = "@BINARY@"
)

func (b *qemuBuild) writeEduPlan(ctx context.Context) error {
	commands, err := os.ReadFile(filepath.Join(b.build(), "compile_commands.json"))
	if err != nil {
		return err
	}
	link, err := output(ctx, b.build(), "ninja", "-t", "commands", "-s", qemuBinary)
	if err != nil {
		return err
	}
	plan, err := newEduPlan(commands, link, b.tree())
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(plan, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, qemuEduPlan), text, 0o644)
}

// newEduPlan takes the compiler's command for edu.c from compile_commands.json
// and the link command as ninja prints it.
func newEduPlan(compileCommands []byte, link, tree string) (eduPlan, error) {
	compile, object, err := eduCommand(compileCommands)
	if err != nil {
		return eduPlan{}, err
	}
	linkArgs, err := shlex.Split(link)
	if err != nil {
		return eduPlan{}, fmt.Errorf("ninja's link command: %w", err)
	}
	plan := eduPlan{Compile: relocatable(compile, tree), Link: relocatable(linkArgs, tree)}
	if n := replaceArg(plan.Link, object, eduObject) + replaceArg(plan.Link, qemuBinary, eduBinary); n != 2 {
		return eduPlan{}, fmt.Errorf("QEMU's link command names %s and %s %d times in all, expected once each", object, qemuBinary, n)
	}
	return plan, nil
}

// eduCommand finds edu.c in compile_commands.json and gives its command, with
// placeholders, and the name of its object file.
func eduCommand(compileCommands []byte) (argv []string, object string, err error) {
	var units []struct{ Command, File, Output string }
	if err := json.Unmarshal(compileCommands, &units); err != nil {
		return nil, "", fmt.Errorf("compile_commands.json: %w", err)
	}
	for _, u := range units {
		if !strings.HasSuffix(u.File, eduInTree) {
			continue
		}
		if argv, err = shlex.Split(u.Command); err != nil {
			return nil, "", fmt.Errorf("compile_commands.json: %w", err)
		}
		argv = withoutDepfile(argv)
		if n := replaceArg(argv, u.File, eduSource) + replaceArg(argv, u.Output, eduObject); n != 2 {
			return nil, "", fmt.Errorf("the command for edu.c names %s and %s %d times in all, expected once each", u.File, u.Output, n)
		}
		return argv, u.Output, nil
	}
	return nil, "", errors.New("compile_commands.json does not mention " + eduInTree)
}

// withoutDepfile drops the options by which the compiler writes a dependency
// file beside the object: the tree is shared and stays as it is.
func withoutDepfile(argv []string) []string {
	var kept []string
	for i := 0; i < len(argv); i++ {
		switch argv[i] {
		case "-MD":
		case "-MQ", "-MF":
			i++
		default:
			kept = append(kept, argv[i])
		}
	}
	return kept
}

// relocatable makes paths into the tree relative to its build directory.
func relocatable(argv []string, tree string) []string {
	var out []string
	for _, a := range argv {
		out = append(out, strings.ReplaceAll(a, tree, ".."))
	}
	return out
}

func replaceArg(argv []string, old, new string) (n int) {
	for i, a := range argv {
		if a == old {
			argv[i] = new
			n++
		}
	}
	return n
}
