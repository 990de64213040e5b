package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"virtlab/harness/result"
)

// DebianImagePackages lists what the Debian guest's image is made with.
func DebianImagePackages() []Package {
	return []Package{
		{"mmdebstrap", "", "makes the Debian guest of the comparison from packages", "mmdebstrap"},
		{"fakechroot", "fakechroot", "has it done without root's rights", "fakechroot"},
		{"fakeroot", "fakeroot", "keeps the owners of the guest's files", "fakeroot"},
		{"lz4", "lz4", "packs the guest's files", "lz4"},
		{"e2fsprogs", "e2fsprogs", "mkfs.ext4 makes disk images", "/sbin/mkfs.ext4"},
	}
}

// debianSpareMiB is the room on the image for what a boot writes. Each run writes
// the whole image anew, so there is not more.
const debianSpareMiB = 64

// debianImage is the image in a result of DebianImageRecipe.
func debianImage(dir string) string { return filepath.Join(dir, "debian.ext4") }

// DebianImage builds, where it is missing, the Debian guest's root file system: a
// raw ext4 image without a partition table, with systemd, sshd, sysbench, the user
// lab with the password p, and our runner as a unit. It boots with the lab kernel
// and root=/dev/vda; with the word virtlab.job=debian it does the job in its last
// job.TailBytes. root is the project's directory.
//
// A first build downloads about 75 MB of packages and takes half a minute, one
// after a change of the runner seconds.
func DebianImage(ctx context.Context, root string, c *Cache) (string, error) {
	a := &assembly{ctx: ctx, get: c.Get}
	files := a.want(DebianRootRecipe(ctx, filepath.Join(root, "fixtures", "debian")))
	guestjob := a.want(GuestJobRecipe(root))
	if a.err != nil {
		return "", a.err
	}
	dir := a.want(DebianImageRecipe(filepath.Join(root, "fixtures", "debian"), files, guestjob))
	return debianImage(dir), a.err
}

// FindDebianImage gives the image without downloading anything: where the guest's
// packages have not been fetched, the error says what to run.
func FindDebianImage(ctx context.Context, root string, c *Cache) (string, error) {
	fixtures := filepath.Join(root, "fixtures", "debian")
	r, err := DebianRootRecipe(ctx, fixtures)
	if err == nil {
		if _, made := c.Lookup(r); made {
			return DebianImage(ctx, root, c)
		}
		err = errMissing
	}
	return "", result.Errorf(result.Host, "the Debian guest: %w", err).WithHint("run make bench, or virtlab setup -debian")
}

// What fixtures/debian holds.
const (
	debianPackages  = "packages"  // one a line
	debianCustomize = "customize" // mmdebstrap's hook
	debianPack      = "pack"      // makes the image
)

const debianArchive = "root.tar.lz4"

// debianOptions say how the packages are unpacked. By fakechroot it is the same for
// root, for an ordinary user and in a container, where mounts or user namespaces
// may be forbidden. Nobody reads manuals in there.
var debianOptions = []string{
	"--mode=fakechroot", "--variant=minbase",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
}

// DebianRootRecipe makes the guest's files as a tarball, from packages of the
// distribution and the release that this machine's apt is configured for (its
// entries "Debian" or "Ubuntu") and what fixtures, the directory fixtures/debian,
// says. Package versions are those of the day of the build: like a cloud image, it
// is not made anew with every update.
func DebianRootRecipe(ctx context.Context, fixtures string) (Recipe, error) {
	in, err := TreeInput(fixtures)
	if err != nil {
		return Recipe{}, fmt.Errorf("the Debian guest: %w", err)
	}
	packages, err := readList(filepath.Join(fixtures, debianPackages))
	if err != nil {
		return Recipe{}, fmt.Errorf("the Debian guest: %w", err)
	}
	sources, err := binarySources(ctx)
	if err != nil {
		return Recipe{}, err
	}
	b := debianBuild{fixtures: fixtures, packages: packages, sources: sources}
	inputs := append([]string{"1", in, strings.Join(debianOptions, " ")}, sources.texts()...)
	return Recipe{Name: "debian-root", Inputs: inputs, Expect: 30 * time.Second, Make: b.make}, nil
}

// readList reads the lines of a file that are neither empty nor a comment.
func readList(path string) (lines []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, s.Err()
}

// aptSources are the distribution's own entries of this machine's apt.
type aptSources []aptSource

// aptSource is an entry as a file of its own.
type aptSource struct{ name, text string }

func (s aptSources) texts() (out []string) {
	for _, e := range s {
		out = append(out, e.name, e.text)
	}
	return out
}

// binarySources asks apt which of its entries are the distribution's.
func binarySources(ctx context.Context) (aptSources, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN) $(SOURCESENTRY)", "Created-By: Packages").Output()
	if err != nil {
		return nil, result.Errorf(result.Host, "apt-get indextargets: %w", err).
			WithHint("the Debian guest is made of packages: this needs a machine with apt and apt sources")
	}
	var sources aptSources
	for i, e := range debianEntries(string(out)) {
		text, err := e.binary()
		if err != nil {
			return nil, err
		}
		sources = append(sources, aptSource{fmt.Sprintf("%d%s", i, filepath.Ext(e.file)), text})
	}
	if len(sources) == 0 {
		return nil, result.Errorf(result.Host, "apt knows no package lists of Debian's").WithHint("run apt-get update as root, then make setup again")
	}
	return sources, nil
}

// binary is the entry's own text, for binary packages only.
func (e sourcesEntry) binary() (string, error) {
	b, err := os.ReadFile(e.file)
	if err != nil {
		return "", result.Errorf(result.Host, "apt's sources: %w", err)
	}
	text, ok := binaryEntry(string(b), filepath.Ext(e.file) == ".sources", e.number)
	if !ok {
		return "", result.Errorf(result.Host, "%s has no binary source as its entry %d, although apt says so", e.file, e.number)
	}
	return text, nil
}

// binaryEntry cuts entry number, counted from 1, out of a sources file.
func binaryEntry(text string, deb822 bool, number int) (string, bool) {
	if deb822 {
		stanza, ok := debSrcStanza(text, number)
		return typesField.ReplaceAllString(stanza, "Types: deb"), ok
	}
	line, ok := debSrcLine(text, number)
	return strings.Replace(line, "deb-src ", "deb ", 1), ok
}

// debianBuild unpacks packages.
type debianBuild struct {
	fixtures string
	packages []string
	sources  aptSources
}

func (b debianBuild) make(ctx context.Context, dir string, log *Log) error {
	if missing := Missing(DebianImagePackages()); len(missing) > 0 {
		return result.Errorf(result.Host, "the Debian guest is made with packages that are not here: %s", strings.Join(Names(missing), ", ")).
			WithHint("run make setup, or as root: %s", InstallCommand(missing))
	}
	log.Step("unpacking packages")
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	argv, err := b.command(work, filepath.Join(dir, debianArchive))
	if err != nil {
		return err
	}
	// PATH: a user's own often lacks the directories of chroot(8) and useradd(8).
	env := []string{"TMPDIR=" + work, "PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"}
	if err := log.Run(ctx, dir, env, argv...); err != nil {
		return result.Errorf(result.Host, "making the Debian guest from packages: %w", err).
			WithHint("check the network and the machine's apt sources (apt-get update)")
	}
	return os.RemoveAll(work)
}

// command writes the sources into work and gives mmdebstrap's command line.
func (b debianBuild) command(work, archive string) ([]string, error) {
	argv := append([]string{"mmdebstrap"}, debianOptions...)
	argv = append(argv, "--include="+strings.Join(b.packages, ","),
		"--customize-hook="+filepath.Join(b.fixtures, debianCustomize), "", archive)
	for _, s := range b.sources {
		path := filepath.Join(work, s.name)
		if err := os.WriteFile(path, []byte(s.text), 0o644); err != nil {
			return nil, err
		}
		argv = append(argv, path)
	}
	return argv, nil
}

// DebianImageRecipe makes the image of files, a result of DebianRootRecipe, and
// guestjob, a result of GuestJobRecipe. fixtures is the directory fixtures/debian.
func DebianImageRecipe(fixtures, files, guestjob string) (Recipe, error) {
	pack := filepath.Join(fixtures, debianPack)
	in, err := FileInput(pack)
	if err != nil {
		return Recipe{}, err
	}
	return Recipe{
		Name:   "debian",
		Inputs: []string{"1", in, filepath.Base(files), filepath.Base(guestjob), fmt.Sprint(debianSpareMiB)},
		Expect: 5 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			log.Step("mkfs.ext4")
			err := log.Run(ctx, dir, nil, "fakeroot", "--", pack, filepath.Join(files, debianArchive),
				GuestJobProgram(guestjob), fmt.Sprint(debianSpareMiB), filepath.Join(dir, "tree"), debianImage(dir))
			return errors.Join(err, addTail(debianImage(dir)))
		},
	}, nil
}
