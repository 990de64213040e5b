package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"virtlab/harness/result"
)

// Packages lists what a full set-up needs from Debian, each package once.
func Packages() []Package {
	var all []Package
	seen := map[string]bool{}
	for _, p := range slices.Concat(KernelPackages(), QEMUPackages(), ToolsPackages()) {
		if !seen[p.Name] {
			seen[p.Name] = true
			all = append(all, p)
		}
	}
	return all
}

// Missing gives those of packages whose probe finds nothing. It looks at files
// only, so it takes no time and no network, and is right on any distribution.
func Missing(packages []Package) []Package {
	var missing []Package
	for _, p := range packages {
		if !p.present() {
			missing = append(missing, p)
		}
	}
	return missing
}

// systemDirs hold programs but are not in every user's PATH.
var systemDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// present is Installed, with a command also where root's programs are.
func (p Package) present() bool {
	return p.Installed() || !strings.Contains(p.Probe, "/") && slices.ContainsFunc(systemDirs, func(dir string) bool {
		_, err := exec.LookPath(filepath.Join(dir, p.Probe))
		return err == nil
	})
}

// Names are the Debian names of packages.
func Names(packages []Package) []string {
	var names []string
	for _, p := range packages {
		names = append(names, p.Name)
	}
	return names
}

// archNames are the Arch Linux names of packages, each once and without the
// remarks that Package.Arch may carry in brackets.
func archNames(packages []Package) []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range packages {
		name, _, _ := strings.Cut(p.Arch, " ")
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// InstallCommand is what root types to install packages on Debian.
func InstallCommand(packages []Package) string {
	return "apt-get update && apt-get install -y --no-install-recommends " + strings.Join(Names(packages), " ")
}

// archCommand is what root types to install packages on Arch Linux, and which
// of them that leaves out.
func archCommand(packages []Package) string {
	command := "pacman -S --needed " + strings.Join(archNames(packages), " ")
	none := slices.DeleteFunc(slices.Clone(packages), func(p Package) bool { return p.Arch != "" })
	if len(none) > 0 {
		command += " (nothing there for " + strings.Join(Names(none), ", ") + ": set up in a Debian container)"
	}
	return command
}

// Installer installs Debian packages with apt-get, as root or through sudo. The
// sources are the machine's own.
type Installer struct {
	cache    *Cache // for the log and the progress
	uid      func() int
	terminal *os.File // where sudo may ask for a password; nil where nobody can answer
	lists    string   // apt's package lists
	retry    time.Duration
}

// NewInstaller makes an Installer that shows its progress as c's builds do and
// leaves apt's output in c's logs.
func NewInstaller(c *Cache) *Installer {
	in := &Installer{cache: c, uid: os.Getuid, lists: "/var/lib/apt/lists", retry: 5 * time.Second}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		in.terminal = os.Stdin
	}
	return in
}

// Install installs packages, which Missing found. With none it does nothing.
func (in *Installer) Install(ctx context.Context, packages []Package) error {
	if len(packages) == 0 {
		return nil
	}
	root, err := in.privilege(ctx, packages)
	if err != nil {
		return err
	}
	log, err := newLog(in.cache, Recipe{Name: "packages", Inputs: Names(packages), Expect: 30 * time.Second})
	if err != nil {
		return err
	}
	err = aptRun{in, log, root}.install(ctx, packages)
	log.close(err)
	if err != nil {
		return explainInstall(err, log.path, packages)
	}
	if left := Missing(packages); len(left) > 0 {
		return result.Errorf(result.Host, "apt-get installed %s, but its %s is not there", left[0].Name, left[0].Probe).
			WithHint("reinstall it: apt-get install --reinstall %s", strings.Join(Names(left), " "))
	}
	return nil
}

func explainInstall(err error, logPath string, packages []Package) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("installing packages: %w", err)
	}
	return result.Errorf(result.Host, "installing packages: %w", err).
		WithHint("read %s, or run as root: %s", logPath, InstallCommand(packages))
}

// privilege is the command in front of apt-get that gains root's rights: none
// for root, sudo for others.
func (in *Installer) privilege(ctx context.Context, packages []Package) ([]string, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, result.Errorf(result.Host, "packages are missing and this machine has no apt-get").
			WithHint("install them by hand. Arch Linux: %s. Debian's names: %s", archCommand(packages), strings.Join(Names(packages), " "))
	}
	if in.uid() == 0 {
		return nil, nil
	}
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return nil, result.Errorf(result.Host, "installing packages takes root's rights, and this machine has no sudo").
			WithHint("run as root: %s", InstallCommand(packages))
	}
	if exec.CommandContext(ctx, sudo, "-n", "true").Run() == nil {
		return []string{sudo, "-n"}, nil
	}
	return in.askPassword(ctx, sudo, packages)
}

// askPassword lets sudo ask on the terminal, before a progress line would
// overwrite the question.
func (in *Installer) askPassword(ctx context.Context, sudo string, packages []Package) ([]string, error) {
	hint := "run as root: " + InstallCommand(packages)
	if in.terminal == nil {
		return nil, result.Errorf(result.Host, "installing packages takes root's rights, and sudo wants a password that nobody can type here").WithHint("%s", hint)
	}
	fmt.Fprintln(in.cache.progress, "packages: installing takes root's rights, sudo may ask for your password")
	cmd := exec.CommandContext(ctx, sudo, "-v")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in.terminal, in.terminal, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, result.Errorf(result.Host, "sudo gives no rights: %w", err).WithHint("%s", hint)
	}
	return []string{sudo}, nil
}

// aptRun is one installation.
type aptRun struct {
	*Installer
	log  *Log
	root []string
}

func (a aptRun) install(ctx context.Context, packages []Package) error {
	if !a.haveLists() {
		if err := a.update(ctx); err != nil {
			return err
		}
		return a.installOnce(ctx, packages)
	}
	err := a.installOnce(ctx, packages)
	if err == nil || !staleLists.MatchString(err.Error()) {
		return err
	}
	if err := a.update(ctx); err != nil {
		return err
	}
	return a.installOnce(ctx, packages)
}

func (a aptRun) haveLists() bool {
	found, _ := filepath.Glob(filepath.Join(a.lists, "*_Packages*"))
	return len(found) > 0
}

// staleLists is what apt-get install says when the lists are older than the
// archive: a version they name is gone, or a package is not in them.
var staleLists = regexp.MustCompile(`Unable to locate package|has no installation candidate|404 +Not Found|Failed to fetch|Unable to fetch|unmet dependencies`)

// listsLocked is what apt-get update says while another apt works. It does not
// wait, unlike apt-get install with DPkg::Lock::Timeout.
var listsLocked = regexp.MustCompile(`Could not get lock|Unable to lock`)

// updateTries bounds the wait for another apt.
const updateTries = 24

func (a aptRun) update(ctx context.Context) error {
	a.log.Step("updating the package lists")
	for try := 1; ; try++ {
		err := a.aptGet(ctx, "update")
		if err == nil || !listsLocked.MatchString(err.Error()) || try == updateTries {
			return err
		}
		a.log.Step("waiting for another apt to finish")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.retry):
		}
	}
}

func (a aptRun) installOnce(ctx context.Context, packages []Package) error {
	a.log.Step("installing %d", len(packages))
	return a.aptGet(ctx, append([]string{"-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install"}, Names(packages)...)...)
}

// aptGet runs apt-get so that an interrupt does not leave packages half
// configured: SIGINT lets dpkg finish what it is at, and the process stays in
// the terminal's foreground group, where a Ctrl-C reaches it also behind sudo,
// whose processes we may not signal. It outlives us if we are killed.
func (a aptRun) aptGet(ctx context.Context, args ...string) error {
	argv := slices.Concat(a.root, aptEnv(), []string{"apt-get", "-q"}, args)
	a.log.tail.reset()
	fmt.Fprintf(a.log, "+ %s\n", strings.Join(argv, " "))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	if a.root != nil && a.terminal != nil {
		cmd.Stdin = a.terminal
	}
	return a.log.run(ctx, cmd, argv)
}

// aptEnv is an env command: sudo drops variables, the user's proxy included.
func aptEnv() []string {
	env := []string{"env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
