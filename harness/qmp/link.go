package qmp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	gqmp "github.com/digitalocean/go-qemu/qmp"
)

// call is a command on its way.
type call struct {
	id    string
	name  string
	frame []byte

	// done is closed once reply or err is set.
	done  chan struct{}
	reply message
	err   error
}

func newCall(id, name string, frame []byte) *call {
	return &call{id: id, name: name, frame: frame, done: make(chan struct{})}
}

// link is one connection to a monitor, from dialling to its end. One goroutine
// reads and one writes. Neither ever waits for a caller or a subscriber.
type link struct {
	conn net.Conn
	opts Options
	hub  *hub

	greeting chan gqmp.Version // takes the first greeting
	outbox   chan *call        // unbuffered: a call that is cancelled here was never sent

	done chan struct{} // closed when nothing will be read any more
	mute chan struct{} // closed when nothing can be written any more

	mu       sync.Mutex
	pending  []*call // written, in order of writing, not answered
	err      error   // why done is closed
	writeErr error   // why mute is closed
}

func newLink(conn net.Conn, opts Options, h *hub) *link {
	l := &link{
		conn:     conn,
		opts:     opts,
		hub:      h,
		greeting: make(chan gqmp.Version, 1),
		outbox:   make(chan *call),
		done:     make(chan struct{}),
		mute:     make(chan struct{}),
	}
	h.open()
	go l.readLoop()
	go l.writeLoop()
	return l
}

// greet waits for the VMM to introduce itself.
func (l *link) greet(ctx context.Context) (gqmp.Version, error) {
	select {
	case v := <-l.greeting:
		return v, nil
	case <-l.done:
		return gqmp.Version{}, l.err
	case <-ctx.Done():
		return gqmp.Version{}, fmt.Errorf("no greeting came (a monitor serves one client at a time; is another connected?): %w", ended(ctx))
	}
}

// do sends c and waits for its reply. When ctx ends first the reply, if it
// ever comes, is dropped.
func (l *link) do(ctx context.Context, c *call) error {
	if ctx.Err() != nil { // select would choose by chance
		return fmt.Errorf("not sent: %w", ended(ctx))
	}
	select {
	case l.outbox <- c:
	case <-l.done:
		return l.err
	case <-l.mute:
		return l.writeErr
	case <-ctx.Done():
		return fmt.Errorf("not sent: %w", ended(ctx))
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("no reply: %w", ended(ctx))
	}
}

// alive tells whether the connection still stands.
func (l *link) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// end closes the connection for the given reason and fails all that wait.
// Only the first reason counts.
func (l *link) end(reason error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = reason
	orphans := l.pending
	l.pending = nil
	close(l.done)
	l.mu.Unlock()

	l.conn.Close()
	for _, c := range orphans {
		c.err = reason
		close(c.done)
	}
	l.hub.close(fmt.Errorf("qmp: no events: %w", reason))
}

// writeLoop sends calls one by one, each in a single write.
func (l *link) writeLoop() {
	for {
		select {
		case c := <-l.outbox:
			if !l.send(c) {
				return
			}
		case <-l.done:
			return
		}
	}
}

// send writes one call and tells whether writing can go on.
func (l *link) send(c *call) bool {
	if !l.expect(c) {
		return false
	}
	if _, err := l.conn.Write(c.frame); err != nil {
		l.silence(c, explain(err))
		return false
	}
	if l.opts.Serial {
		<-c.done
	}
	return true
}

// expect notes that c awaits a reply, or fails it when none can come.
func (l *link) expect(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		c.err = l.err
		close(c.done)
		return false
	}
	l.pending = append(l.pending, c)
	return true
}

// silence stops writing after an error, since half a command may be out. The
// reader goes on: what the VMM said before it died is still to be read.
func (l *link) silence(c *call, err error) {
	l.mu.Lock()
	l.writeErr = err
	close(l.mute)
	mine := l.withdraw(func(p *call) bool { return p == c })
	l.mu.Unlock()
	if mine != nil {
		mine.err = err
		close(mine.done)
	}
}

// withdraw takes the first pending call that matches off the list. Who gets it
// is the only one to finish it. The lock must be held.
func (l *link) withdraw(match func(*call) bool) *call {
	i := slices.IndexFunc(l.pending, match)
	if i < 0 {
		return nil
	}
	c := l.pending[i]
	l.pending = slices.Delete(l.pending, i, i+1)
	return c
}

// readLoop takes messages apart until the connection ends.
func (l *link) readLoop() {
	meter := &meter{from: l.conn, limit: l.opts.MaxReply}
	dec := json.NewDecoder(meter)
	for l.alive() {
		var raw json.RawMessage // a new one each time: replies keep theirs
		if err := dec.Decode(&raw); err != nil {
			l.end(explain(err))
			return
		}
		meter.reset()
		msg, err := parseMessage(raw)
		if err != nil {
			l.end(err)
			return
		}
		l.dispatch(msg)
	}
}

// dispatch hands a message to whom it concerns. Unknown kinds are ignored, as
// the protocol asks of clients.
func (l *link) dispatch(msg message) {
	switch {
	case msg.Greeting != nil:
		select {
		case l.greeting <- msg.Greeting.Version:
		default: // a second greeting says nothing new
		}
	case msg.Event != nil:
		l.hub.publish(msg.raw)
	case msg.isReply():
		l.answer(msg)
	}
}

// answer finishes the call that msg replies to. A reply without id (QEMU sends
// one when it could not parse the command) belongs to the oldest call, as
// commands are answered in order.
func (l *link) answer(msg message) {
	id := msg.id()
	l.mu.Lock()
	c := l.withdraw(func(p *call) bool { return msg.ID == nil || p.id == id })
	l.mu.Unlock()
	if c == nil {
		return
	}
	c.reply = msg
	close(c.done)
}

// meter fails a message that grows beyond limit bytes.
type meter struct {
	from  io.Reader
	limit int64
	count int64
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if m.count >= m.limit {
		return 0, fmt.Errorf("%w of %d bytes", ErrReplyTooLong, m.limit)
	}
	n, err := m.from.Read(p)
	m.count += int64(n)
	return n, err
}

// reset starts the count of the next message.
func (m *meter) reset() { m.count = 0 }
