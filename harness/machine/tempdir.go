package machine

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"virtlab/harness/result"
)

// scratch is the directory that holds all temporary directories of this process.
// A janitor, a process of its own, removes it when this one ends, however it
// ends: sockets and disk images do not outlive SIGKILL.
var scratch struct {
	sync.Mutex
	dir  string
	made int             // directories so far: their names
	open map[string]bool // directories that are there
	life *os.File        // the janitor reads its end from the other side of this pipe
}

func (host) TempDir(context.Context) (string, error) {
	scratch.Lock()
	defer scratch.Unlock()
	if err := openScratch(); err != nil {
		return "", result.Errorf(result.Host, "no temporary directory: %w", err).WithHint("set TMPDIR to a writable directory")
	}
	scratch.made++
	dir := filepath.Join(scratch.dir, strconv.Itoa(scratch.made))
	// Room for the longest socket name used below it.
	if err := CheckSocketPath(dir + "/socket-name"); err != nil {
		return "", errors.Join(err, closeScratch())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", errors.Join(err, closeScratch())
	}
	scratch.open[dir] = true
	return dir, nil
}

// openScratch makes the directory and starts its janitor, if they are not there.
func openScratch() error {
	if scratch.dir != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "vl")
	if err != nil {
		return err
	}
	life, err := startJanitor(dir)
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	scratch.dir, scratch.life, scratch.open = dir, life, map[string]bool{}
	return nil
}

// closeScratch gives the directory up once nothing is in it, and its janitor
// with it. With something in it, it stays.
func closeScratch() error {
	if len(scratch.open) > 0 {
		return nil
	}
	err := errors.Join(os.RemoveAll(scratch.dir), scratch.life.Close())
	scratch.dir, scratch.life = "", nil
	return err
}

// leaveScratch is called when path was removed.
func leaveScratch(path string) error {
	scratch.Lock()
	defer scratch.Unlock()
	if !scratch.open[path] {
		return nil
	}
	delete(scratch.open, path)
	return closeScratch()
}

// janitorOf names, in the environment of a janitor, the directory to remove.
const janitorOf = "VIRTLAB_JANITOR_OF"

// startJanitor starts this very program as the janitor of dir: another one (a
// shell, rm) need not be there, as in L1. It is in a session of its own, so
// that a Ctrl-C that ends us does not end it.
func startJanitor(dir string) (life *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe")
	c.Args = []string{"virtlab-janitor"}
	c.Env = []string{janitorOf + "=" + dir}
	c.Stdin = r
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	go func() { _ = c.Wait() }() // it ends with its directory
	return w, nil
}

// init makes this process a janitor where it was started as one. It sits here,
// not in a main function, because every program with this package can start one.
func init() {
	dir := os.Getenv(janitorOf)
	if dir == "" {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when nobody holds the other side
	if os.RemoveAll(dir) != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
