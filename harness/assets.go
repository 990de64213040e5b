package harness

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"virtlab/harness/build"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// assets finds what the labs boot: made by make setup, or given in a guest.
var assets = sync.OnceValues(func() (*build.Assets, error) {
	root, err := Root()
	if err != nil && os.Getenv(build.AssetsVariable) == "" {
		return nil, err
	}
	dir, err := build.DefaultDir()
	if err != nil {
		return nil, err
	}
	cache, err := build.OpenCache(dir, io.Discard)
	if err != nil {
		return nil, err
	}
	return build.Find(root, cache)
})

// Assets is what the labs boot on the host.
func Assets() *build.Assets {
	a, err := assets()
	if err != nil {
		panic(fmt.Sprintf("harness.Main has not checked the assets: %v", err))
	}
	return a
}

// AssetsOn is what can be booted on a machine: the host's own, or what lies on
// a guest's tools disk.
func AssetsOn(on machine.Machine) *build.Assets {
	if on == machine.Host {
		return Assets()
	}
	return build.GuestAssets(wire.ToolsDir)
}

// Root is the project's directory: the one with go.mod at or above the working
// directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", result.Errorf(result.Host, "no go.mod at or above %s", dir).WithHint("run in virtlab's directory")
		}
	}
}

// Fixture is the path of a file or folder below fixtures.
func Fixture(elem ...string) (string, error) {
	root, err := Root()
	return filepath.Join(append([]string{root, "fixtures"}, elem...)...), err
}
