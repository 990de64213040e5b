package shot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"virtlab/harness/qmp"
)

// instructions asks QEMU's monitor how many instructions the guest has executed.
// -icount counts them (docs/devel/tcg-icount), and query-replay tells the number
// also where nothing is recorded or replayed. A nil *instructions counts nothing.
type instructions struct {
	mon   *qmp.Monitor
	ready chan struct{} // closed when mon is connected, or err is set
	err   error
}

// answerTime is how long the monitor may take to answer.
const answerTime = 5 * time.Second

// countInstructions connects to the monitor at path, which the VMM is about to
// make; ended is closed when there is no VMM any more.
func countInstructions(path string, ended <-chan struct{}) *instructions {
	if path == "" {
		return nil
	}
	c := &instructions{ready: make(chan struct{})}
	dial := func(context.Context) (net.Conn, error) {
		if conn := dialRetry(path, ended); conn != nil {
			return conn, nil
		}
		return nil, errors.New("the VMM ended")
	}
	c.mon, c.err = qmp.New(dial, qmp.Options{Serial: true})
	go func() {
		defer close(c.ready)
		if c.err == nil {
			c.err = c.mon.Connect()
		}
	}()
	return c
}

// read gives the number of executed instructions.
func (c *instructions) read() (int64, error) {
	if c == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	select {
	case <-c.ready:
	case <-ctx.Done():
		return 0, fmt.Errorf("the monitor did not answer in %s", answerTime)
	}
	if c.err != nil {
		return 0, c.err
	}
	var reply struct {
		ICount int64 `json:"icount"`
	}
	err := c.mon.Execute(ctx, "query-replay", nil, &reply)
	return reply.ICount, err
}

// close ends the connection; the VMM is gone.
func (c *instructions) close() {
	if c == nil {
		return
	}
	<-c.ready
	if c.mon != nil {
		_ = c.mon.Disconnect()
	}
}
