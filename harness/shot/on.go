package shot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"virtlab/harness/machine"
)

// Command is the subcommand of virtlab that On runs.
const Command = "shot"

// On runs the program virtlab, at that path on m, to shoot there. It has the
// Outcome and errors of Run.
func On(ctx context.Context, m machine.Machine, virtlab string, spec Spec) (*Outcome, error) {
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("shot: %w", err)
	}
	// Its standard input stays open: whoever holds it keeps the VMM alive.
	hold, release := io.Pipe()
	defer release.Close()
	stdin := io.MultiReader(bytes.NewReader(append(doc, '\n')), hold)
	out, err := machine.RunCmd(ctx, m, machine.Cmd{Args: []string{virtlab, Command}, Stdin: stdin})
	if err != nil {
		return nil, fmt.Errorf("shot: %w", err)
	}
	var o Outcome
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return nil, fmt.Errorf("shot: %s: what virtlab %s printed is no outcome: %w", m.Name(), Command, err)
	}
	return &o, nil
}

// errHolderGone says that the standard input of Serve ended before the VMM did.
var errHolderGone = errors.New("standard input ended: nobody waits for the outcome any more")

// Serve is the other end of On: it reads a Spec from stdin, runs it, and prints
// the Outcome. The VMM ends when stdin does.
func Serve(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	d := json.NewDecoder(stdin)
	d.DisallowUnknownFields() // of another version: not to be half understood
	var spec Spec
	if err := d.Decode(&spec); err != nil {
		return fmt.Errorf("standard input has no shot's specification: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel(errHolderGone)
	}()
	o, err := Run(ctx, spec)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(o)
}
