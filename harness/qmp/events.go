package qmp

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	gqmp "github.com/digitalocean/go-qemu/qmp"
)

// hub hands events to subscribers without ever waiting for one.
type hub struct {
	queue   int // events kept for each subscriber
	dropped atomic.Uint64

	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	closed error // why there are no events, nil while there may be
}

// subscriber is one reader of events. Its channel is the queue; only publish
// sends on it, under the hub's lock.
type subscriber struct {
	ch     chan gqmp.Event
	forget func() bool // stops watching the subscriber's context
}

func newHub(queue int) *hub {
	return &hub{queue: queue, subs: make(map[*subscriber]struct{})}
}

// subscribe adds a reader that leaves when ctx ends.
func (h *hub) subscribe(ctx context.Context) (<-chan gqmp.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return nil, h.closed
	}
	s := &subscriber{ch: make(chan gqmp.Event, h.queue)}
	s.forget = context.AfterFunc(ctx, func() { h.leave(s) })
	h.subs[s] = struct{}{}
	return s.ch, nil
}

// leave removes s and closes its channel, once.
func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, in := h.subs[s]; in {
		delete(h.subs, s)
		close(s.ch)
	}
}

// open lets subscribers in again after close.
func (h *hub) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = nil
}

// close sends all subscribers home, and new ones too, giving the reason.
func (h *hub) close(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = reason
	for s := range h.subs {
		s.forget()
		close(s.ch)
	}
	clear(h.subs)
}

// publish gives an encoded event to all subscribers. Each gets a decoding of
// its own, for Data is a map that a subscriber may change. An event that does
// not decode is one that no subscriber could have understood.
func (h *hub) publish(raw json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		var e gqmp.Event
		if json.Unmarshal(raw, &e) != nil {
			h.dropped.Add(1)
			continue
		}
		h.push(s, e)
	}
}

// push queues e for s and drops the oldest event when there is no room.
func (h *hub) push(s *subscriber, e gqmp.Event) {
	for {
		select {
		case s.ch <- e:
			return
		default:
		}
		select {
		case <-s.ch:
			h.dropped.Add(1)
		default: // the subscriber made room meanwhile
		}
	}
}
