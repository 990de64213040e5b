package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"virtlab/harness/result"
)

// SourcePackage is a Debian source package in one version.
type SourcePackage struct {
	Name    string // "qemu"
	Version string // "1:7.2+dfsg-7+deb12u18"
}

func (s SourcePackage) String() string { return s.Name + "=" + s.Version }

// SourceOf gives the source package that the installed binary package was
// built from, in the version that is installed.
//
// A recipe takes it as a key input. It comes from dpkg's own data base in some
// ten milliseconds and without network, so a warm run stays quick and works
// offline, and a security update that the machine installs leads to a rebuild.
// An apt candidate would need current lists, which change under a student's
// feet between two runs.
func SourceOf(ctx context.Context, binary string) (SourcePackage, error) {
	out, err := dpkgQuery(ctx, "${source:Package} ${source:Version}", binary)
	if err != nil {
		return SourcePackage{}, err
	}
	name, version, ok := strings.Cut(out, " ")
	if !ok || name == "" || version == "" {
		return SourcePackage{}, result.Errorf(result.Host, "dpkg-query says %q about %s, not a source package and its version", out, binary)
	}
	return SourcePackage{name, version}, nil
}

// InstalledVersions is one line "name version" a package, as a recipe input:
// what a build links and copies changes with it.
func InstalledVersions(ctx context.Context, packages ...string) (string, error) {
	return dpkgQuery(ctx, `${Package} ${Version}\n`, packages...)
}

// dpkgQuery asks dpkg about installed packages; it fails where one is not.
func dpkgQuery(ctx context.Context, format string, packages ...string) (string, error) {
	// A package that was removed but not purged is known, without being there.
	argv := append([]string{"-W", "-f", "${db:Status-Status} " + format, "--"}, packages...)
	cmd := exec.CommandContext(ctx, "dpkg-query", argv...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", result.Errorf(result.Host, "dpkg-query %s: %w: %s", strings.Join(packages, " "), err, strings.TrimSpace(stderr.String())).
			WithHint("run make setup, which installs what is missing")
	}
	return onlyInstalled(string(out))
}

// onlyInstalled strips the leading status from each line of dpkg-query's
// answer and objects to any but "installed".
func onlyInstalled(out string) (string, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		rest, ok := strings.CutPrefix(line, "installed ")
		if !ok {
			return "", result.Errorf(result.Host, "a package is not installed: dpkg says %q", line).
				WithHint("run make setup, which installs what is missing")
		}
		lines[i] = rest
	}
	return strings.Join(lines, "\n"), nil
}

// SourceArchive fetches Debian source packages and leaves the machine's own
// apt configuration, lists and caches as they are: the deb-src entries that
// Debian's default sources lack exist only in a directory of its own.
type SourceArchive struct {
	dir string
	log *Log
}

// NewSourceArchive makes an archive in dir, an absolute path, with a deb-src
// entry for each of Debian's binary sources that the machine uses, and
// downloads its lists. Signatures are checked with the keys that the machine
// trusts for those sources. It needs network and no privilege.
func NewSourceArchive(ctx context.Context, dir string, log *Log) (*SourceArchive, error) {
	a := &SourceArchive{dir: dir, log: log}
	for _, sub := range []string{"sources", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(a.config(), []byte(aptConfig(dir)), 0o644); err != nil {
		return nil, err
	}
	if err := a.writeSources(ctx); err != nil {
		return nil, err
	}
	if err := log.Run(ctx, dir, nil, "apt-get", "-c", a.config(), "-q", "update"); err != nil {
		return nil, result.Errorf(result.Host, "reading the lists of Debian's source packages: %w", err).
			WithHint("check the network and the machine's apt sources (apt-get update)")
	}
	return a, nil
}

func (a *SourceArchive) config() string { return filepath.Join(a.dir, "apt.conf") }

// aptConfig is an apt.conf that keeps all of apt's state in dir. Proxies and
// keys stay those of the machine.
func aptConfig(dir string) string {
	return fmt.Sprintf(`Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "%[1]s/sources";
Dir::State::lists "%[1]s/lists";
Dir::Cache "%[1]s/cache";
Acquire::Languages "none";

// As root, apt downloads as the user _apt, who may not look into a home
// directory. Integrity does not rest on that user but on the signatures.
APT::Sandbox::User "root";

// Hooks are for the machine's lists; the clean-up of Docker images and
// PackageKit's message fail for a normal user, and with them the update.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`, dir)
}

// writeSources turns the machine's enabled Debian entries into deb-src ones.
// Whole entries are kept, so that Signed-By and mirrors stay in force.
func (a *SourceArchive) writeSources(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN) $(SOURCESENTRY)", "Created-By: Packages").Output()
	if err != nil {
		return result.Errorf(result.Host, "apt-get indextargets: %w", err).
			WithHint("QEMU is built from Debian's source package: this needs a machine with apt and apt sources")
	}
	entries := debianEntries(string(out))
	if len(entries) == 0 {
		return result.Errorf(result.Host, "apt knows no Debian package lists").WithHint("run apt-get update as root, then make setup again")
	}
	for i, e := range entries {
		text, err := e.debSrc()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d%s", i, filepath.Ext(e.file))
		if err := os.WriteFile(filepath.Join(a.dir, "sources", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sourcesEntry is one entry of apt's sources: a line of a .list file, or a
// stanza of a .sources file. Both count from 1.
type sourcesEntry struct {
	file   string
	number int
}

// debianEntries reads lines "ORIGIN FILE:NUMBER" and keeps the distribution's
// own, each once: other repositories need not have sources at all.
func debianEntries(indextargets string) []sourcesEntry {
	var entries []sourcesEntry
	seen := map[sourcesEntry]bool{}
	for line := range strings.Lines(indextargets) {
		origin, entry, _ := strings.Cut(strings.TrimSpace(line), " ")
		file, number, _ := cutLast(entry, ":")
		n, err := strconv.Atoi(number)
		e := sourcesEntry{file, n}
		if (origin == "Debian" || origin == "Ubuntu") && err == nil && !seen[e] {
			seen[e] = true
			entries = append(entries, e)
		}
	}
	return entries
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (e sourcesEntry) debSrc() (string, error) {
	b, err := os.ReadFile(e.file)
	if err != nil {
		return "", result.Errorf(result.Host, "apt's sources: %w", err)
	}
	convert := debSrcLine
	if filepath.Ext(e.file) == ".sources" {
		convert = debSrcStanza
	}
	text, ok := convert(string(b), e.number)
	if !ok {
		return "", result.Errorf(result.Host, "%s has no binary source as its entry %d, although apt says so", e.file, e.number)
	}
	return text, nil
}

var debLine = regexp.MustCompile(`^\s*deb\s`)

// debSrcLine is line number of a .list file as a deb-src line.
func debSrcLine(list string, number int) (string, bool) {
	lines := strings.Split(list, "\n")
	if number < 1 || number > len(lines) || !debLine.MatchString(lines[number-1]) {
		return "", false
	}
	return debLine.ReplaceAllString(lines[number-1], "deb-src ") + "\n", true
}

var (
	stanzaEnd  = regexp.MustCompile(`\n[ \t]*\n`)
	commentRow = regexp.MustCompile(`(?m)^#.*\n?`)
	typesField = regexp.MustCompile(`(?mi)^Types:.*$`)
)

// debSrcStanza is stanza number of a .sources file (deb822) with the type
// deb-src.
func debSrcStanza(sources string, number int) (string, bool) {
	n := 0
	for _, stanza := range stanzaEnd.Split(sources, -1) {
		stanza = commentRow.ReplaceAllString(stanza+"\n", "")
		if strings.TrimSpace(stanza) == "" {
			continue
		}
		if n++; n == number && typesField.MatchString(stanza) {
			return typesField.ReplaceAllString(stanza, "Types: deb-src"), true
		}
	}
	return "", false
}

// Unpack downloads pkg and unpacks it, Debian's patches applied, into dir,
// which must not exist yet. It gives the version it took: Debian keeps only
// the newest version of a package, so where the machine is behind on updates
// the exact source may be gone and the newest is the best there is.
func (a *SourceArchive) Unpack(ctx context.Context, pkg SourcePackage, dir string) (SourcePackage, error) {
	work := filepath.Join(a.dir, "download", pkg.Name)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return pkg, err
	}
	if err := a.download(ctx, work, pkg.String()); err != nil {
		fmt.Fprintf(a.log, "%s is not offered any more: taking the newest version\n", pkg)
		if err := a.download(ctx, work, pkg.Name); err != nil {
			return pkg, result.Errorf(result.Host, "downloading the source package %s: %w", pkg.Name, err).WithHint("check the network")
		}
	}
	dsc, err := onlyMatch(filepath.Join(work, "*.dsc"))
	if err != nil {
		return pkg, err
	}
	if pkg.Version, err = dscVersion(dsc); err != nil {
		return pkg, err
	}
	// dpkg-source compares the files' checksums with the .dsc, and apt has
	// compared the .dsc's with the signed list.
	return pkg, a.log.Run(ctx, work, nil, "dpkg-source", "--no-copy", "-x", dsc, dir)
}

func (a *SourceArchive) download(ctx context.Context, dir, what string) error {
	return a.log.Run(ctx, dir, nil, "apt-get", "-c", a.config(), "-q", "source", "--only-source", "--download-only", what)
}

func onlyMatch(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d files match %s, expected one", len(found), pattern)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

var versionField = regexp.MustCompile(`(?m)^Version: *(\S+)$`)

// dscVersion reads the package's version from its description file.
func dscVersion(dsc string) (string, error) {
	b, err := os.ReadFile(dsc)
	if err != nil {
		return "", err
	}
	m := versionField.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s has no Version field", dsc)
	}
	return string(m[1]), nil
}
