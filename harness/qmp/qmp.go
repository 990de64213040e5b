// Package qmp talks to the machine protocol monitor (QMP) of QEMU and of
// VMMs that speak the same protocol, such as StratoVirt.
//
// Monitor implements the Monitor interface of go-qemu, and adds methods that
// take a context. It stands on any net.Conn: a unix socket of this host, or a
// stream that is forwarded from inside a guest. It never sets deadlines on the
// connection, because forwarded streams (SSH channels) have none; a wait ends
// with its context instead.
//
// What it promises beyond the protocol:
//
//   - a reply may have any size up to Options.MaxReply and belongs to the
//     caller: nothing that arrives later changes it;
//   - replies are matched by request id, so a command whose context ended
//     leaves the connection usable and its late reply is dropped;
//   - events never hold up replies, and a subscriber that does not read costs
//     a bounded amount of memory (see Monitor.Events);
//   - when the VMM goes away every waiting call ends with ErrVMMClosed.
//
// The protocol is described in QEMU's docs/interop/qmp-spec.
package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	gqmp "github.com/digitalocean/go-qemu/qmp"
)

// Defaults of the Options that are left zero.
const (
	DefaultTimeout    = time.Minute
	DefaultEventQueue = 1024
	DefaultMaxReply   = 256 << 20 // bytes
)

// Options shape a Monitor. The zero value suits QEMU.
type Options struct {
	// Serial keeps at most one command outstanding: the next one is written
	// when the reply to the last one has come, even if nobody waits for it.
	Serial bool

	// MaxCommand is the longest command in bytes, its final newline included,
	// that the VMM accepts in one write. Zero means no limit.
	MaxCommand int

	// MaxReply is the longest message in bytes that is read from the VMM, so
	// that a broken one cannot take all memory. Zero means DefaultMaxReply.
	MaxReply int64

	// EventQueue is the number of events kept for each subscriber that has
	// not read them. Zero means DefaultEventQueue.
	EventQueue int

	// Timeout ends Connect and Run, which take no context.
	// Zero means DefaultTimeout.
	Timeout time.Duration
}

// StratoVirt returns the options that StratoVirt 2.5 needs: it reads one
// command of at most 8192 bytes at a time and loses those that are pipelined.
func StratoVirt() Options {
	return Options{Serial: true, MaxCommand: 8192}
}

// validate refuses values that make no sense and fills in the defaults.
func (o Options) validate() (Options, error) {
	if o.MaxCommand < 0 || o.MaxReply < 0 || o.EventQueue < 0 || o.Timeout < 0 {
		return o, fmt.Errorf("qmp: options must not be negative: %+v", o)
	}
	if o.MaxReply == 0 {
		o.MaxReply = DefaultMaxReply
	}
	if o.EventQueue == 0 {
		o.EventQueue = DefaultEventQueue
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return o, nil
}

// Dialer opens a connection to a monitor.
type Dialer func(ctx context.Context) (net.Conn, error)

// Unix returns a Dialer for the unix socket at path.
func Unix(path string) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// errConnUsed is what a second dial of a ready-made connection gives.
var errConnUsed = errors.New("this monitor was given one connection, and it is used up")

// Once returns a Dialer that hands out conn the first time and fails after.
func Once(conn net.Conn) Dialer {
	var used atomic.Bool
	return func(context.Context) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errConnUsed
		}
		return conn, nil
	}
}

// Monitor is a client of one QMP monitor. Its methods may be called from any
// goroutine.
type Monitor struct {
	dial Dialer
	opts Options
	hub  *hub
	ids  atomic.Uint64

	mu      sync.Mutex
	link    *link
	version gqmp.Version
}

var _ gqmp.Monitor = (*Monitor)(nil)

// New makes a Monitor that is not connected yet. The error tells which option
// is wrong.
func New(dial Dialer, opts Options) (*Monitor, error) {
	opts, err := opts.validate()
	if err != nil {
		return nil, err
	}
	return &Monitor{dial: dial, opts: opts, hub: newHub(opts.EventQueue)}, nil
}

// NewConn makes a Monitor over a connection that is already open and from
// which nothing has been read. Connect must still be called; the Monitor then
// owns conn.
func NewConn(conn net.Conn, opts Options) (*Monitor, error) {
	return New(Once(conn), opts)
}

// Connect is ConnectContext with Options.Timeout.
func (m *Monitor) Connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), m.opts.Timeout)
	defer cancel()
	return m.ConnectContext(ctx)
}

// ConnectContext dials, waits for the greeting and negotiates capabilities.
// After it the monitor takes commands. When it fails the connection is closed.
func (m *Monitor) ConnectContext(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != nil && m.link.alive() {
		return errors.New("qmp: the monitor is connected already")
	}
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("qmp: cannot reach the monitor: %w", err)
	}
	l := newLink(conn, m.opts, m.hub)
	version, err := m.shake(ctx, l)
	if err != nil {
		l.end(err)
		return err
	}
	m.link, m.version = l, version
	return nil
}

// shake reads the greeting and leaves capability negotiation mode.
func (m *Monitor) shake(ctx context.Context, l *link) (gqmp.Version, error) {
	version, err := l.greet(ctx)
	if err != nil {
		return version, fmt.Errorf("qmp: connect: %w", err)
	}
	_, err = m.roundTrip(ctx, l, "qmp_capabilities", request{"execute": json.RawMessage(`"qmp_capabilities"`)})
	return version, err
}

// Disconnect closes the connection. Calls that still wait end with an error
// that wraps net.ErrClosed, and the channels of Events are closed. It is no
// error to disconnect twice, or without having connected.
func (m *Monitor) Disconnect() error {
	m.mu.Lock()
	l := m.link
	m.link = nil
	m.mu.Unlock()
	if l != nil {
		l.end(errDisconnected)
	}
	return nil
}

// Version is what the VMM said of itself when Connect succeeded.
func (m *Monitor) Version() gqmp.Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// Done is closed when the connection has ended, which is how the end of a VMM
// shows. It is closed already when the monitor is not connected.
func (m *Monitor) Done() <-chan struct{} {
	l, err := m.current()
	if err != nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return l.done
}

// current returns the link in use.
func (m *Monitor) current() (*link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link == nil {
		return nil, errors.New("qmp: the monitor is not connected: call Connect first")
	}
	return m.link, nil
}

// Run is RunContext with Options.Timeout.
func (m *Monitor) Run(command []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), m.opts.Timeout)
	defer cancel()
	return m.RunContext(ctx, command)
}

// RunContext sends a whole QMP command, a JSON object with "execute" and
// perhaps "arguments", and returns the whole reply. The id of the command, if
// it has one, is the id of the reply. An error reply becomes an *Error.
func (m *Monitor) RunContext(ctx context.Context, command []byte) ([]byte, error) {
	l, err := m.current()
	if err != nil {
		return nil, err
	}
	req, err := parseRequest(command)
	if err != nil {
		return nil, err
	}
	own, had := req["id"]
	raw, err := m.roundTrip(ctx, l, req.name(), req)
	if err != nil {
		return nil, err
	}
	return restoreID(raw, own, had)
}

// Execute runs a command with args as its "arguments" (nil for none) and
// stores what it returns in out (nil to drop it), both as encoding/json does.
func (m *Monitor) Execute(ctx context.Context, command string, args, out any) error {
	l, err := m.current()
	if err != nil {
		return err
	}
	req, err := newRequest(command, args)
	if err != nil {
		return err
	}
	raw, err := m.roundTrip(ctx, l, command, req)
	if err != nil || out == nil {
		return err
	}
	reply := struct {
		Return any `json:"return"`
	}{Return: out}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return fmt.Errorf("qmp: %s: reply does not have the expected form: %w", command, err)
	}
	return nil
}

// roundTrip gives the request an id of its own, sends it and waits.
func (m *Monitor) roundTrip(ctx context.Context, l *link, name string, req request) (json.RawMessage, error) {
	id := "virtlab-" + strconv.FormatUint(m.ids.Add(1), 10)
	frame, err := req.frame(id)
	if err != nil {
		return nil, fmt.Errorf("qmp: %s: %w", name, err)
	}
	if limit := m.opts.MaxCommand; limit > 0 && len(frame) > limit {
		return nil, fmt.Errorf("qmp: %s: the command has %d bytes, this VMM takes at most %d", name, len(frame), limit)
	}
	c := newCall(id, name, frame)
	if err := l.do(ctx, c); err != nil {
		return nil, fmt.Errorf("qmp: %s: %w", name, err)
	}
	return c.reply.raw, c.reply.fault(name)
}

// Events subscribes to the events of the VMM until ctx ends, the VMM goes away
// or Disconnect is called; then the channel is closed. It may be called before
// Connect, to see also what the VMM reports while it is being connected.
//
// Each subscriber has a queue of Options.EventQueue events. When it is full the
// oldest event in it is dropped, because the last ones (SHUTDOWN, RESET) tell
// what became of the machine. DroppedEvents counts the loss. Events that come
// while nobody is subscribed are not kept and not counted.
func (m *Monitor) Events(ctx context.Context) (<-chan gqmp.Event, error) {
	return m.hub.subscribe(ctx)
}

// DroppedEvents is the number of events that slow subscribers have lost since
// the Monitor was made, summed over the subscribers.
func (m *Monitor) DroppedEvents() uint64 {
	return m.hub.dropped.Load()
}
