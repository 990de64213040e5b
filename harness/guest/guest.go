// Package guest boots a virtual machine on a Machine and makes it one.
package guest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/qmp"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// Config is a guest to boot. The sockets of the SSH port and of the monitor are
// filled in by Boot.
type Config struct {
	vmm.Config
	Name   string // "L1": for messages and evidence files
	Driver vmm.Driver
	// Evidence is a directory of the host for NAME.console.txt and
	// NAME.cmdline.txt; empty: none.
	Evidence string
	// Stall is how long the guest may print nothing and answer nothing, while
	// it boots and after. 0: a minute.
	Stall time.Duration
}

// stall is Stall with its default.
func (c Config) stall() time.Duration { return cmp.Or(c.Stall, time.Minute) }

// Guest is a booted guest. It is a Machine.
type Guest struct {
	name    string
	on      machine.Machine
	driver  vmm.Driver
	dir     string // sockets, on the machine underneath
	monitor string
	console *Console
	stderr  lockedBuffer
	proc    machine.Process
	exited  chan struct{} // closed when the VMM has ended
	exitErr error
	end     context.CancelFunc
	ssh     *ssh.Client
	wire    *livelyConn
	stall   time.Duration // Config.Stall
	hung    chan struct{} // closed when the guest was found hanging
	files   files
	log     *os.File

	mon     sync.Mutex
	qmp     *qmp.Monitor
	closing sync.Once
}

var _ machine.Machine = (*Guest)(nil)

// Boot boots a guest on a machine and returns once it answers over SSH. The
// guest ends when ctx ends or Close is called, whichever comes first.
func Boot(ctx context.Context, on machine.Machine, cfg Config) (*Guest, error) {
	dir, err := on.TempDir(ctx)
	if err != nil {
		return nil, err
	}
	g := &Guest{name: cfg.Name, on: on, driver: cfg.Driver, dir: dir, monitor: dir + "/qmp", stall: cfg.stall(), exited: make(chan struct{}), hung: make(chan struct{})}
	if err := g.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, on.RemoveAll(context.WithoutCancel(ctx), dir))
	}
	if err := g.await(ctx, cfg); err != nil {
		err = fmt.Errorf("booting %s: %w", cfg.Name, err)
		return nil, errors.Join(err, g.Close())
	}
	go g.keepWatch(cfg)
	return g, nil
}

// start starts the VMM.
func (g *Guest) start(ctx context.Context, cfg Config) error {
	cfg.Monitor = g.monitor
	// The first port: PID 1 takes it for SSH's by its number (wire.PortDevice).
	cfg.Ports = append([]vmm.Port{{Name: wire.Port, Socket: g.dir + "/ssh"}}, cfg.Ports...)
	argv, err := cfg.Driver.Command(cfg.Config)
	if err != nil {
		return err
	}
	if err := g.openEvidence(cfg, argv); err != nil {
		return err
	}
	ctx, g.end = context.WithCancel(ctx)
	g.proc, err = g.on.Start(ctx, machine.Cmd{Args: argv, Stdout: g.console, Stderr: &g.stderr})
	if err != nil {
		g.end()
		if errors.Is(err, fs.ErrNotExist) {
			return result.Errorf(result.Host, "there is no VMM at %s: %w", argv[0], err).WithHint("run make setup, which builds QEMU")
		}
		return err
	}
	go func() {
		g.exitErr = g.proc.Wait()
		close(g.exited)
	}()
	return nil
}

func (g *Guest) openEvidence(cfg Config, argv []string) (err error) {
	if cfg.Evidence == "" {
		g.console = newConsole(nil)
		return nil
	}
	line := machine.CommandLine(argv...) + "\n"
	if err := os.WriteFile(filepath.Join(cfg.Evidence, cfg.Name+".cmdline.txt"), []byte(line), 0o644); err != nil {
		return err
	}
	g.log, err = os.Create(filepath.Join(cfg.Evidence, cfg.Name+".console.txt"))
	g.console = newConsole(g.log)
	return err
}

// await waits for the guest's SSH server, and ends at once when the VMM ends,
// the kernel prints its last words, or nothing has moved for too long.
func (g *Guest) await(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		client *ssh.Client
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		client, err := g.connect(ctx)
		answers <- answer{client, err}
	}()
	watch := time.NewTicker(100 * time.Millisecond)
	defer watch.Stop()
	for {
		select {
		case a := <-answers:
			if a.err != nil {
				return g.blame(a.err)
			}
			g.ssh = a.client
			g.files.ssh = a.client
			return nil
		case <-g.exited:
			return g.blame(errors.New("the VMM ended before the guest answered"))
		case <-g.console.trouble:
			return g.blame(errors.New("the guest's kernel gave up"))
		case <-ctx.Done():
			return g.blame(context.Cause(ctx))
		case <-watch.C:
			if time.Since(g.console.lastMoved()) > g.stall {
				g.keepRegisters(cfg)
				return g.hangs()
			}
		}
	}
}

// connect dials the SSH port, whose socket the VMM is about to make.
func (g *Guest) connect(ctx context.Context) (*ssh.Client, error) {
	conn, err := dialRetry(ctx, g.on, g.dir+"/ssh", g.exited)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	g.wire = newLivelyConn(conn)
	c, chans, reqs, err := ssh.NewClientConn(g.wire, g.name, &ssh.ClientConfig{
		Config: wire.Algorithms(),
		User:   "root",
		// The socket lies in a private directory and ends in the machine
		// that we started: the wire is the identity.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// dialRetry dials a socket that a process is about to create.
func dialRetry(ctx context.Context, on machine.Machine, path string, gone <-chan struct{}) (net.Conn, error) {
	for {
		conn, err := on.Dial(ctx, path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-gone:
			// Not err: that there is no such file is no answer of the guest.
			return nil, errors.New("the VMM ended before the guest answered")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// blame finds out why an operation on the guest failed: the guest's kernel gave
// up, the VMM ended, or neither, when err stands as it is.
func (g *Guest) blame(err error) error {
	if err == nil {
		return nil
	}
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		return err // the program's own end
	}
	var status *sftp.StatusError
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &status) {
		return fmt.Errorf("%s: %w", g.name, err) // an answer: the guest is well
	}
	// The connection breaks first, the reason arrives a moment later.
	select {
	case <-g.console.trouble:
	case <-g.exited:
	case <-g.hung:
	case <-time.After(2 * settle):
	}
	if lines := g.console.Trouble(); len(lines) > 0 {
		return result.Errorf(result.Guest, "%s: %w; its console says:\n  %s", g.name, err, strings.Join(lines, "\n  "))
	}
	select {
	case <-g.exited:
		if e := g.driver.Explain(g.exitErr, g.stderr.String()); e != nil {
			return fmt.Errorf("%s: %w (%w)", g.name, e, err)
		}
		return result.Errorf(result.Guest, "%s: %w: the machine was switched off; the last lines on its console were:\n%s", g.name, err, g.console.last(5))
	case <-g.hung:
		return fmt.Errorf("%s: %w: %w", g.name, err, g.hangs())
	default:
		return fmt.Errorf("%s: %w", g.name, err)
	}
}

// Name is the guest's name.
func (g *Guest) Name() string { return g.name }

// Console is the guest's console.
func (g *Guest) Console() *Console { return g.console }

// Pid is the VMM's process id where it runs on the host (machine.Pid), else 0.
func (g *Guest) Pid() int { return machine.Pid(g.proc) }

// Dmesg is the guest's kernel log.
func (g *Guest) Dmesg(ctx context.Context) (string, error) {
	return machine.Run(ctx, g, "dmesg")
}

// Modprobe loads a kernel module, and those it depends on first. It is a name
// from the tools disk or a path to a .ko file in the guest.
func (g *Guest) Modprobe(ctx context.Context, module string, params ...string) error {
	_, err := machine.Run(ctx, g, append([]string{"modprobe", module}, params...)...)
	return err
}

// Monitor is the VMM's QMP monitor.
func (g *Guest) Monitor(ctx context.Context) (*qmp.Monitor, error) {
	g.mon.Lock()
	defer g.mon.Unlock()
	if g.qmp != nil {
		return g.qmp, nil
	}
	m, err := qmp.New(func(ctx context.Context) (net.Conn, error) { return g.on.Dial(ctx, g.monitor) }, qmp.Options{})
	if err != nil {
		return nil, err
	}
	if err := m.ConnectContext(ctx); err != nil {
		return nil, g.blame(err)
	}
	g.qmp = m
	return m, nil
}

// PowerOff ends the guest in order and waits for the VMM's end, so that what
// the VMM writes (a trace, a disk) is complete.
func (g *Guest) PowerOff(ctx context.Context) error {
	if _, err := machine.Run(ctx, g, "poweroff"); err != nil && ctx.Err() != nil {
		return g.blame(err)
	}
	select {
	case <-g.exited:
		g.release()
		return g.driver.Explain(g.exitErr, g.stderr.String())
	case <-ctx.Done():
		return result.Errorf(result.Guest, "%s does not power off: %w", g.name, context.Cause(ctx))
	}
}

// Close ends the VMM at once and waits for its death, then removes its files.
func (g *Guest) Close() error {
	g.end()
	_ = g.proc.Kill()
	<-g.exited
	g.release()
	return nil
}

// release gives up what the guest held; the VMM has ended.
func (g *Guest) release() {
	g.closing.Do(func() {
		g.end()
		g.mon.Lock()
		if g.qmp != nil {
			_ = g.qmp.Disconnect()
		}
		g.mon.Unlock()
		if g.ssh != nil {
			_ = g.ssh.Close()
		}
		// The machine underneath may be gone already, its files with it.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = g.on.RemoveAll(ctx, g.dir)
		if g.log != nil {
			_ = g.log.Close()
		}
	})
}

// Exited is closed when the VMM has ended.
func (g *Guest) Exited() <-chan struct{} { return g.exited }

// lockedBuffer is what the VMM says on stderr, within bounds.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 64<<10 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
