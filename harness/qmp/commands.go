package qmp

import (
	"context"
	"errors"
)

// Status is the reply of query-status.
type Status struct {
	Running bool   `json:"running"`
	Status  string `json:"status"` // running, paused, shutdown, internal-error, guest-panicked, ...
}

// Status asks what the machine is doing.
func (m *Monitor) Status(ctx context.Context) (Status, error) {
	var s Status
	err := m.Execute(ctx, "query-status", nil, &s)
	return s, err
}

// Stop pauses the machine's processors.
func (m *Monitor) Stop(ctx context.Context) error {
	return m.Execute(ctx, "stop", nil, nil)
}

// Cont lets the machine's processors run.
func (m *Monitor) Cont(ctx context.Context) error {
	return m.Execute(ctx, "cont", nil, nil)
}

// Quit tells the VMM to end. A VMM that ends without replying has obeyed. The
// process may live on for a moment: wait for it, or for Done.
func (m *Monitor) Quit(ctx context.Context) error {
	err := m.Execute(ctx, "quit", nil, nil)
	if errors.Is(err, ErrVMMClosed) {
		return nil
	}
	return err
}
