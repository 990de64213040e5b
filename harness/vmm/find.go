package vmm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"virtlab/harness/result"
)

// source is how a VMM that is not built here gets onto a machine.
type source struct {
	variable string // names its binary
	flag     string
	hint     string
}

// sources are the VMMs that we look for. StratoVirt wants Rust; the hints name
// the pages of the projects' own documentation by their titles.
var sources = map[string]source{
	"stratovirt":  {"STRATOVIRT", "-stratovirt", `its own documentation, "Build StratoVirt from source", tells how to get it; in short cargo build --release, which makes target/release/stratovirt`},
	"firecracker": {"FIRECRACKER", "-firecracker", `its own documentation, "Getting Started with Firecracker", tells how to get a release`},
}

// howToGet says how to get the VMM of that name; empty where make setup does.
func howToGet(name string) string { return sources[name].hint }

// Find finds the binary of a VMM on this host: where asked says, else where its
// variable does ($STRATOVIRT, $FIRECRACKER), else in PATH. The error is the
// reason why it is not measured: where it was looked for and how to get it.
func Find(name, asked string) (path string, err error) {
	src, known := sources[name]
	if !known {
		return "", result.Errorf(result.Host, "no VMM of the name %q is looked for", name)
	}
	if asked != "" {
		return src.find(name, src.flag+" "+asked, asked)
	}
	if set := os.Getenv(src.variable); set != "" {
		return src.find(name, "$"+src.variable, set)
	}
	return src.find(name, "PATH (neither "+src.flag+" nor $"+src.variable+" is set)", name)
}

// find looks for a program; where says in the error where that was.
func (s source) find(name, where, program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return filepath.Abs(path)
	}
	var cause *exec.Error // names the program once more
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return "", result.Errorf(result.Host, "%s is not measured: looked in %s: %w", name, where, err).WithHint("%s", s.hint)
}

// needBinary is an error where a driver has no binary to run.
func needBinary(name, path string) error {
	if path != "" {
		return nil
	}
	e := result.Errorf(result.Host, "no binary of %s", name)
	if hint := howToGet(name); hint != "" {
		return e.WithHint("%s", hint)
	}
	return e.WithHint("run make setup, which builds one")
}

// ended is the error of a VMM that ended with err after it said something.
func ended(name string, err error, said string) error {
	said = strings.TrimSpace(said)
	if err == nil {
		return result.Errorf(result.VMM, "%s ended with status 0; it said: %q", name, said)
	}
	return result.Errorf(result.VMM, "%s ended: %w; it said: %q", name, err, said)
}
