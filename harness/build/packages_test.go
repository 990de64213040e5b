package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// fakeMachine is a PATH of its own with the programs given as shell scripts.
// Their calls go to the file calls; "installed" is where apt-get install leaves
// a program.
type fakeMachine struct {
	dir string
	in  *Installer
	out *safeBuffer
}

func newFakeMachine(t *testing.T, uid int, programs map[string]string) fakeMachine {
	t.Helper()
	c, out := openCache(t)
	m := fakeMachine{dir: t.TempDir(), out: out}
	m.in = &Installer{cache: c, uid: func() int { return uid }, lists: filepath.Join(m.dir, "lists"), retry: time.Millisecond}
	bin := filepath.Join(m.dir, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	require.NoError(t, os.MkdirAll(m.in.lists, 0o755))
	for name, script := range programs {
		text := "#!/bin/sh\necho \"" + name + " $*\" >>'" + m.dir + "/calls'\ncd '" + m.dir + "'\n" + script + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755))
	}
	// The shell's own programs come from real directories; env is needed by
	// the command lines, and cannot shadow anything that these tests look for.
	require.NoError(t, os.Symlink("/usr/bin/env", filepath.Join(bin, "env")))
	t.Setenv("PATH", bin)
	t.Setenv("http_proxy", "")
	t.Setenv("https_proxy", "")
	t.Setenv("no_proxy", "")
	return m
}

func (m fakeMachine) withLists(t *testing.T) fakeMachine {
	require.NoError(t, os.WriteFile(filepath.Join(m.in.lists, "archive_main_binary-amd64_Packages.lz4"), nil, 0o644))
	return m
}

func (m fakeMachine) calls(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, "calls"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// wanted are packages that only a fake apt-get can install.
func (m fakeMachine) wanted() []Package {
	return []Package{
		{"libthing-dev", "libthing", "headers", filepath.Join(m.dir, "thing.h")},
		{"tool", "tool (in the AUR)", "runs", filepath.Join(m.dir, "tool")},
	}
}

// aptInstalls is an apt-get that installs what wanted lists.
const aptInstalls = `case "$*" in *install*) : >thing.h; : >tool;; *) : >lists/x_Packages;; esac`

const installCall = "apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install libthing-dev tool"

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "here"), nil, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "not-executable"), nil, 0o644))
	packages := []Package{
		{Name: "command", Probe: "here"}, {Name: "no-command", Probe: "virtlab-has-no-such-command"},
		{Name: "plain", Probe: "not-executable"},
		{Name: "file", Probe: filepath.Join(dir, "not-executable")}, {Name: "pattern", Probe: filepath.Join(dir, "not-*")}, {Name: "no-file", Probe: filepath.Join(dir, "gone")},
	}
	assert.Equal(t, []string{"no-command", "plain", "no-file"}, Names(Missing(packages)))
}

func TestMissingLooksWhereRootsProgramsAre(t *testing.T) {
	const program = "chroot" // coreutils; in /usr/sbin on Debian, /usr/bin elsewhere
	if _, err := os.Stat("/usr/sbin/" + program); err != nil {
		t.Skipf("this machine has no /usr/sbin/%s", program)
	}
	t.Setenv("PATH", t.TempDir())
	assert.Empty(t, Missing([]Package{{Name: "coreutils", Probe: program}}))
}

func TestPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Packages() {
		assert.False(t, seen[p.Name], "%s is listed twice", p.Name)
		seen[p.Name] = true
		assert.Regexp(t, `^[a-z0-9][a-z0-9+.-]+$`, p.Name)
		assert.NotEmpty(t, p.Why, p.Name)
		assert.NotEmpty(t, p.Probe, p.Name)
		assert.True(t, !strings.Contains(p.Probe, "/") || filepath.IsAbs(p.Probe), "%s: probe %s", p.Name, p.Probe)
	}
	assert.True(t, seen["bubblewrap"])
}

func TestNothingToInstall(t *testing.T) {
	m := newFakeMachine(t, 1000, nil)
	require.NoError(t, m.in.Install(t.Context(), nil))
	assert.Empty(t, m.out.String())
}

func TestNoApt(t *testing.T) {
	m := newFakeMachine(t, 0, nil)
	err := m.in.Install(t.Context(), m.wanted())
	assert.ErrorContains(t, err, "no apt-get")
	assert.ErrorContains(t, err, "Arch Linux: pacman -S --needed libthing tool.")
	assert.ErrorContains(t, err, "Debian's names: libthing-dev tool")

	err = m.in.Install(t.Context(), append(m.wanted(), Package{Name: "linux-source"}))
	assert.ErrorContains(t, err, "libthing tool (nothing there for linux-source: set up in a Debian container).")
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

const asRoot = "run as root: apt-get update && apt-get install -y --no-install-recommends libthing-dev tool"

func TestNeitherRootNorSudo(t *testing.T) {
	m := newFakeMachine(t, 1000, map[string]string{"apt-get": aptInstalls})
	err := m.in.Install(t.Context(), m.wanted())
	assert.ErrorContains(t, err, "no sudo")
	assert.ErrorContains(t, err, asRoot)
	assert.Empty(t, m.calls(t), "apt-get was called without the rights for it")
}

func TestSudoWantsPassword(t *testing.T) {
	m := newFakeMachine(t, 1000, map[string]string{"apt-get": aptInstalls, "sudo": "exit 1"})
	err := m.in.Install(t.Context(), m.wanted())
	assert.ErrorContains(t, err, "a password that nobody can type here")
	assert.ErrorContains(t, err, asRoot)
	assert.Equal(t, []string{"sudo -n true"}, m.calls(t))
}

func TestSudoAsksOnTerminal(t *testing.T) {
	tests := map[string]struct{ sudo, err string }{
		"answered": {`case "$1" in -n) exit 1;; -v) exit 0;; *) exec "$@";; esac`, ""},
		"refused":  {`exit 1`, "sudo gives no rights"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newFakeMachine(t, 1000, map[string]string{"apt-get": aptInstalls, "sudo": tt.sudo}).withLists(t)
			terminal, err := os.Open(os.DevNull)
			require.NoError(t, err)
			defer terminal.Close()
			m.in.terminal = terminal
			err = m.in.Install(t.Context(), m.wanted())
			assert.Contains(t, m.out.String(), "sudo may ask for your password")
			if tt.err != "" {
				assert.ErrorContains(t, err, tt.err)
				assert.ErrorContains(t, err, asRoot)
				return
			}
			require.NoError(t, err)
			assert.Contains(t, m.calls(t), installCall)
		})
	}
}

func TestInstallAsRoot(t *testing.T) {
	m := newFakeMachine(t, 0, map[string]string{
		"apt-get": `test "$DEBIAN_FRONTEND" = noninteractive || exit 9; echo "Setting up tool"` + "\n" + aptInstalls,
	}).withLists(t)
	require.NoError(t, m.in.Install(t.Context(), m.wanted()))
	assert.Equal(t, []string{installCall}, m.calls(t), "no update where there are lists")
	assert.Contains(t, m.out.String(), "packages: done in")
	logs := entries(t, m.in.cache, "log")
	require.Len(t, logs, 1)
	b, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	assert.Contains(t, string(b), "Setting up tool")
}

func TestInstallThroughSudoPassesEnvironment(t *testing.T) {
	m := newFakeMachine(t, 1000, map[string]string{
		"apt-get": `test "$DEBIAN_FRONTEND,$http_proxy" = "noninteractive,http://proxy:3128" || exit 9` + "\n" + aptInstalls,
		"sudo":    `unset http_proxy DEBIAN_FRONTEND; test "$1" = -n && shift; test "$1" = true && exit 0; exec "$@"`,
	}).withLists(t)
	t.Setenv("http_proxy", "http://proxy:3128")
	require.NoError(t, m.in.Install(t.Context(), m.wanted()))
}

func TestUpdates(t *testing.T) {
	const update = "apt-get -q update"
	tests := []struct {
		name  string
		lists bool
		apt   string
		want  []string
	}{
		{"no lists", false, aptInstalls, []string{update, installCall}},
		{"stale lists", true, `case "$*" in *install*) test -e lists/x_Packages || { echo "E: Unable to locate package tool" >&2; exit 100; };; esac` + "\n" + aptInstalls,
			[]string{installCall, update, installCall}},
		{"another apt updates", false, `case "$*" in *update*) test -e tried || { : >tried; echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; };; esac` + "\n" + aptInstalls,
			[]string{update, update, installCall}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newFakeMachine(t, 0, map[string]string{"apt-get": tt.apt})
			if tt.lists {
				m.withLists(t)
			}
			require.NoError(t, m.in.Install(t.Context(), m.wanted()))
			assert.Equal(t, tt.want, m.calls(t))
		})
	}
}

func TestInstallFails(t *testing.T) {
	m := newFakeMachine(t, 0, map[string]string{"apt-get": "echo dpkg: error: disk on fire; exit 100"}).withLists(t)
	err := m.in.Install(t.Context(), m.wanted())
	assert.ErrorContains(t, err, "disk on fire", "the tail of apt's output")
	assert.ErrorContains(t, err, "exit status 100")
	assert.ErrorContains(t, err, asRoot)
	assert.ErrorContains(t, err, "read "+entries(t, m.in.cache, "log")[0])
	assert.Equal(t, []string{installCall}, m.calls(t), "an update does not help here")
}

func TestInstalledButNotThere(t *testing.T) {
	m := newFakeMachine(t, 0, map[string]string{"apt-get": ": >thing.h"}).withLists(t)
	err := m.in.Install(t.Context(), m.wanted())
	assert.ErrorContains(t, err, "apt-get installed tool, but its "+filepath.Join(m.dir, "tool")+" is not there")
	assert.ErrorContains(t, err, "apt-get install --reinstall tool")
}

// An interrupt reaches apt-get as SIGINT, which lets dpkg finish its step.
func TestInstallIsInterruptedGently(t *testing.T) {
	m := newFakeMachine(t, 0, map[string]string{
		"apt-get": `trap ': >finished; exit 130' INT; : >started; while :; do /bin/sleep 0.05; done`,
	}).withLists(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(m.dir, "started")); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	err := m.in.Install(ctx, m.wanted())
	assert.ErrorIs(t, err, context.Canceled)
	assert.FileExists(t, filepath.Join(m.dir, "finished"))
}
