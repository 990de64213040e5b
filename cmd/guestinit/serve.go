package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire"
)

// serve answers one SSH client after the other on the port, until SIGTERM
// (poweroff) ends it.
func serve() error {
	config := serverConfig()
	failed := make(chan error, 1)
	go func() {
		for {
			port, err := openPort()
			if err != nil {
				failed <- err
				return
			}
			if err := serveConn(port, config); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "virtlab: ssh:", err)
			}
			port.Close()
			// A port whose host side is not connected reads as EOF at once.
			time.Sleep(20 * time.Millisecond)
		}
	}()
	select {
	case <-terminated:
		return nil
	case err := <-failed:
		return err
	}
}

func serverConfig() *ssh.ServerConfig {
	config := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true}
	config.AddHostKey(openKey{})
	return config
}

// openKey is the Ed25519 key that everyone holds: the wire itself says who is at
// the other end. Its public half is the curve's neutral element, for which one
// constant signature fits every message: with A and R neutral and S = 0 the
// equation [S]B = R + [k]A holds for any k (RFC 8032, 5.1.7). To make and use a
// real key takes an emulated CPU 7 to 10 ms at every boot, most of it for the
// translation of code that runs once.
type openKey struct{}

var neutral = [ed25519.PublicKeySize]byte{1} // (0, 1), encoded as its y

func (openKey) PublicKey() ssh.PublicKey {
	key, err := ssh.NewPublicKey(ed25519.PublicKey(neutral[:]))
	if err != nil {
		panic(err) // of a key of another size
	}
	return key
}

func (openKey) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	var signature [ed25519.SignatureSize]byte
	copy(signature[:], neutral[:]) // R, and after it S
	return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: signature[:]}, nil
}

// portConn makes the port the net.Conn that x/crypto/ssh asks for.
type portConn struct{ io.ReadWriteCloser }

func (portConn) LocalAddr() net.Addr              { return portAddr{} }
func (portConn) RemoteAddr() net.Addr             { return portAddr{} }
func (portConn) SetDeadline(time.Time) error      { return nil }
func (portConn) SetReadDeadline(time.Time) error  { return nil }
func (portConn) SetWriteDeadline(time.Time) error { return nil }

type portAddr struct{}

func (portAddr) Network() string { return "virtio-serial" }
func (portAddr) String() string  { return wire.Port }

func serveConn(port io.ReadWriteCloser, config *ssh.ServerConfig) error {
	conn, chans, reqs, err := ssh.NewServerConn(portConn{port}, config)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(reqs)
	for ch := range chans {
		switch ch.ChannelType() {
		case "session":
			go session(ch)
		case "direct-streamlocal@openssh.com":
			go forward(ch)
		default:
			_ = ch.Reject(ssh.UnknownChannelType, ch.ChannelType())
		}
	}
	return conn.Wait()
}

// forward connects a channel to a unix socket of this guest (PROTOCOL file of
// OpenSSH, section 2.4).
func forward(nc ssh.NewChannel) {
	var msg struct {
		Path      string
		Reserved0 string
		Reserved1 uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &msg); err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	sock, err := net.Dial("unix", msg.Path)
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		sock.Close()
		return
	}
	go ssh.DiscardRequests(reqs)
	// Either side may be done with writing and still read on.
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(sock, ch)
		_ = sock.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(ch, sock)
	_ = ch.CloseWrite()
	<-done
	ch.Close()
	sock.Close()
}

// session serves exec, env, signal and the sftp subsystem (RFC 4254, section 6).
func session(nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	var env []string
	var running *process
	for req := range reqs {
		var ok bool
		switch req.Type {
		case "env":
			var kv struct{ Name, Value string }
			if ok = ssh.Unmarshal(req.Payload, &kv) == nil; ok {
				env = append(env, kv.Name+"="+kv.Value)
			}
		case "exec":
			// The answer goes first: a program that ends at once closes
			// the channel, and the client takes that for a failed start.
			_ = req.Reply(true, nil)
			running = execute(ch, req, env)
			continue
		case "signal":
			var sig struct{ Name string }
			if ok = ssh.Unmarshal(req.Payload, &sig) == nil && running != nil; ok {
				running.signal(unix.SignalNum("SIG" + sig.Name))
			}
		case "subsystem":
			var sub struct{ Name string }
			if ok = ssh.Unmarshal(req.Payload, &sub) == nil && sub.Name == "sftp"; ok {
				go serveFiles(ch)
			}
		}
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
	}
	// The client is gone: so is what it ran.
	if running != nil {
		running.signal(syscall.SIGKILL)
	}
}

func serveFiles(ch ssh.Channel) {
	defer ch.Close()
	s, err := sftp.NewServer(ch)
	if err == nil {
		_ = s.Serve()
	}
}

// execute starts the program of an exec request. The words are separated by
// NUL: there is no shell in this guest, and so no quoting to get wrong. A
// leading "DIR\0" may be empty.
func execute(ch ssh.Channel, req *ssh.Request, env []string) *process {
	var line struct{ Command string }
	if err := ssh.Unmarshal(req.Payload, &line); err != nil {
		exit(ch, 255)
		return nil
	}
	words := strings.Split(line.Command, "\x00")
	if len(words) < 2 {
		words = append([]string{""}, strings.Fields(line.Command)...)
	}
	if len(words) < 2 {
		words = append(words, "") // no program: start says so
	}
	if tool := inProcess[words[1]]; tool != nil {
		go func() {
			status := 0
			if err := tool(words[2:], ch); err != nil {
				fmt.Fprintln(ch.Stderr(), err)
				status = 1
			}
			exit(ch, status)
		}()
		return nil
	}
	p, err := start(words[1:], env, words[0], ch, ch, ch.Stderr())
	if err != nil {
		go func() {
			fmt.Fprintln(ch.Stderr(), err)
			exit(ch, 127)
		}()
		return nil
	}
	go func() {
		ws := p.wait()
		if ws.Signaled() {
			name := strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")
			if name == "" {
				name = ws.Signal().String() // real-time signals have no name
			}
			_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Name    string
				Core    bool
				Message string
				Lang    string
			}{name, ws.CoreDump(), "", ""}))
			ch.Close()
			return
		}
		exit(ch, ws.ExitStatus())
	}()
	return p
}

func exit(ch ssh.Channel, status int) {
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	ch.Close()
}

// loopbackUp brings up lo: some programs insist on 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // a kernel without IPv4 has nothing to bring up
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
