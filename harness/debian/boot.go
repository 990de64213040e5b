package debian

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"virtlab/harness/guest/wire"
	"virtlab/harness/image"
	"virtlab/harness/machine"
	"virtlab/harness/qmp"
	"virtlab/harness/result"
)

// stall is how long a booting guest may print nothing: a boot loader's menu and
// cloud-init are slow under emulation.
const stall = 3 * time.Minute

// Guest is a booted image.
type Guest struct {
	name    string
	cfg     Config
	dir     string
	console *console
	stderr  bytes.Buffer // of QEMU; read once it has ended
	proc    machine.Process
	exited  chan struct{} // closed when QEMU has ended
	exitErr error
	log     *os.File
	ssh     *ssh.Client
	port    int
	closing sync.Once
}

// Boot boots an image on this machine and returns once it lets the user lab in.
// A cloud image makes that user at its first boot, as a seed tells it; in the
// project's own image it is there. The guest ends when ctx ends or by Close.
func Boot(ctx context.Context, c Config) (*Guest, error) {
	dir, err := machine.Host.TempDir(ctx)
	if err != nil {
		return nil, err
	}
	g := &Guest{name: c.Name, cfg: c, dir: dir, exited: make(chan struct{})}
	key, err := g.seed()
	if err == nil {
		err = g.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, machine.Host.RemoveAll(context.WithoutCancel(ctx), dir))
	}
	if err := g.await(ctx, key); err != nil {
		return nil, errors.Join(fmt.Errorf("booting %s: %w", c.Name, err), g.Close())
	}
	return g, nil
}

// seed writes the seed for a new key.
func (g *Guest) seed() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	return signer, image.WriteSeed(g.dir+seedImage, image.SeedConfig{
		User: User, PlainPassword: Password, AuthorizedKey: string(ssh.MarshalAuthorizedKey(signer.PublicKey())),
		Hostname: "debian", InstanceID: "virtlab-" + strings.ToLower(rand.Text()[:12]),
	})
}

// start starts QEMU, whose temporary files come into our directory.
func (g *Guest) start(ctx context.Context) error {
	argv, err := g.cfg.Command(g.dir)
	if err != nil {
		return err
	}
	if err := g.openEvidence(argv); err != nil {
		return err
	}
	g.proc, err = machine.Host.Start(ctx, machine.Cmd{
		Args: argv, Env: []string{"TMPDIR=" + g.dir}, Stdout: g.console, Stderr: &g.stderr,
	})
	if err != nil {
		return err
	}
	go func() {
		g.exitErr = g.proc.Wait()
		close(g.exited)
	}()
	return nil
}

func (g *Guest) openEvidence(argv []string) (err error) {
	g.console = newConsole(nil)
	if g.cfg.Evidence == "" {
		return nil
	}
	line := machine.CommandLine(argv...) + "\n"
	if err := os.WriteFile(filepath.Join(g.cfg.Evidence, g.name+".cmdline.txt"), []byte(line), 0o644); err != nil {
		return err
	}
	g.log, err = os.Create(filepath.Join(g.cfg.Evidence, g.name+".console.txt"))
	g.console = newConsole(g.log)
	return err
}

// await waits for the guest's SSH server.
func (g *Guest) await(ctx context.Context, key ssh.Signer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, 1)
	go func() { answers <- g.connect(ctx, key) }()
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	for {
		select {
		case err := <-answers:
			return g.blame(err)
		case <-g.exited:
			return g.blame(errors.New("the machine ended before it let anybody in"))
		case <-g.console.trouble:
			return g.blame(errors.New("the guest's kernel gave up"))
		case <-watch.C:
			if idle := g.console.idle(); idle > stall {
				return g.blame(fmt.Errorf("it has printed nothing for %s and lets nobody in", idle.Round(time.Second)))
			}
		}
	}
}

// connect asks QEMU for the port and logs in.
func (g *Guest) connect(ctx context.Context, key ssh.Signer) (err error) {
	if g.port, err = retry(ctx, 10*time.Millisecond, g.askPort); err != nil {
		return err
	}
	g.ssh, err = retry(ctx, 250*time.Millisecond, func(ctx context.Context) (*ssh.Client, error) { return g.login(ctx, key) })
	return err
}

// retry does what fails as long as a guest is coming up, until it works or ctx ends.
func retry[T any](ctx context.Context, pause time.Duration, try func(context.Context) (T, error)) (T, error) {
	for {
		v, err := try(ctx)
		if err == nil {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// askPort asks QEMU which port it forwards to the guest's SSH server.
func (g *Guest) askPort(ctx context.Context) (int, error) {
	m, err := qmp.New(qmp.Unix(g.dir+monitorSocket), qmp.Options{})
	if err != nil {
		return 0, err
	}
	if err := m.ConnectContext(ctx); err != nil {
		return 0, err
	}
	defer m.Disconnect()
	text, err := m.HMP(ctx, "info usernet")
	if err != nil {
		return 0, err
	}
	return ForwardedPort(text, 22)
}

// login makes one attempt. QEMU takes a connection also where nobody listens in
// the guest yet, so that one needs an end.
func (g *Guest) login(ctx context.Context, key ssh.Signer) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(g.port))
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		Config: wire.Algorithms(),
		User:   User,
		Auth:   []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password(Password)},
		// QEMU itself named the port, and it is the guest's: nobody else can be
		// behind it, and the guest made its key up a moment ago.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// blame says what the guest and QEMU have to say about an error.
func (g *Guest) blame(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-g.exited:
		if e := g.cfg.QEMU.Explain(g.exitErr, g.stderr.String()); e != nil {
			return fmt.Errorf("%w (%w)", e, err)
		}
	default:
	}
	return result.Errorf(result.Guest, "%w; its console says:\n%s", err, g.console.last())
}

// Name is the guest's name.
func (g *Guest) Name() string { return g.name }

// Port is the port of this machine behind which the guest's SSH server is.
func (g *Guest) Port() int { return g.port }

// Pid is QEMU's process id.
func (g *Guest) Pid() int { return machine.Pid(g.proc) }

// Close ends QEMU at once, waits for its death, and removes its files.
func (g *Guest) Close() (err error) {
	g.closing.Do(func() {
		_ = g.proc.Kill()
		<-g.exited
		if g.ssh != nil {
			_ = g.ssh.Close()
		}
		err = machine.Host.RemoveAll(context.Background(), g.dir)
		if g.log != nil {
			err = errors.Join(err, g.log.Close())
		}
	})
	return err
}
