package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Available says whether there is a sandbox here, found once by making one, and
// what to do where there is none.
func Available() error { return available() }

var available = sync.OnceValue(probe)

func probe() error {
	for _, tool := range []string{"bwrap", "prlimit", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			return result.Errorf(result.Host, "no sandbox: %w", err).
				WithHint("run make setup, or install the packages bubblewrap and util-linux")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, err := start(ctx, Spec{Args: []string{"true"}, Limits: Compiler})
	if err == nil {
		err = p.Wait()
	}
	var exit *machine.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err // not bubblewrap's
	}
	return diagnose(err, look())
}

// surroundings are what forbids namespaces on Linux systems.
type surroundings struct {
	root       bool
	container  bool
	apparmor   string // kernel.apparmor_restrict_unprivileged_userns
	clone      string // kernel.unprivileged_userns_clone (Debian)
	namespaces string // user.max_user_namespaces
}

func look() surroundings {
	sysctl := func(name string) string {
		return strings.TrimSpace(string(read("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))))
	}
	return surroundings{
		root:       os.Geteuid() == 0,
		container:  inContainer(),
		apparmor:   sysctl("kernel.apparmor_restrict_unprivileged_userns"),
		clone:      sysctl("kernel.unprivileged_userns_clone"),
		namespaces: sysctl("user.max_user_namespaces"),
	}
}

// inContainer knows the marks of docker, podman and systemd-nspawn or LXC.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// diagnose says why bubblewrap failed with err, as far as the surroundings tell.
func diagnose(err error, s surroundings) error {
	e := result.Errorf(result.Host, "bubblewrap cannot make a sandbox: %w", err)
	switch {
	case strings.Contains(err.Error(), "Unknown option"):
		return e.WithHint("this bubblewrap is too old: install 0.8 or newer")
	case s.container:
		return e.WithHint("this is a container that forbids namespaces: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN (docker, podman), or run virtlab outside of it")
	case s.namespaces == "0":
		return e.WithHint("no namespaces are allowed here: sysctl user.max_user_namespaces=10000")
	case !s.root && s.clone == "0":
		return e.WithHint("ordinary users may make no user namespaces: sysctl kernel.unprivileged_userns_clone=1")
	case !s.root && s.apparmor == "1":
		return e.WithHint("AppArmor forbids user namespaces (Ubuntu 23.10 and newer): install the package apparmor-profiles and enable its profile bwrap-userns-restrict, or sysctl kernel.apparmor_restrict_unprivileged_userns=0")
	}
	return e.WithHint("see that namespaces are allowed: sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone; or run virtlab as another user")
}
