package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	fake := []command{
		{"good", "", "does well", func(context.Context, []string, io.Writer, io.Writer) error { return nil }},
		{"bad", "", "does not", func(context.Context, []string, io.Writer, io.Writer) error { return errors.New("no luck") }},
		{"odd", "", "is typed wrongly", func(context.Context, []string, io.Writer, io.Writer) error { return errUsage }},
	}
	tests := []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{nil, exitUsage, "", "usage: virtlab SUBCOMMAND"},
		{[]string{"help"}, exitOK, "does well", ""},
		{[]string{"-h"}, exitOK, "does not", ""},
		{[]string{"good"}, exitOK, "", ""},
		{[]string{"bad"}, exitFailed, "", "virtlab: no luck\n"},
		{[]string{"odd"}, exitUsage, "", ""},
		{[]string{"gone"}, exitUsage, "", `no subcommand "gone"`},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, tt.status, run(context.Background(), fake, tt.args, &stdout, &stderr))
			assert.Contains(t, stdout.String(), tt.stdout)
			assert.Contains(t, stderr.String(), tt.stderr)
			if tt.stdout == "" {
				assert.Empty(t, stdout.String())
			}
		})
	}
}

func TestWrongArguments(t *testing.T) {
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"setup", "now"}, `unexpected argument "now"`},
		{[]string{"setup", "-x"}, "flag provided but not defined: -x"},
		{[]string{"doctor", "please"}, `unexpected argument "please"`},
		{[]string{"table"}, "which files?"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(context.Background(), commands, tt.args, &stdout, &stderr))
			assert.Contains(t, stderr.String(), tt.says)
		})
	}
}

func TestFlagHelpIsNoError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, run(context.Background(), commands, []string{"setup", "-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "say what would be done")
}

// TestMain is also a virtlab with a subcommand that waits, for
// TestSignalEndsSubcommand.
func TestMain(m *testing.M) {
	if os.Getenv("VIRTLAB_TEST_WAIT") != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		wait := command{name: "wait", run: func(ctx context.Context, _ []string, stdout, _ io.Writer) error {
			_, _ = io.WriteString(stdout, "waiting\n")
			<-ctx.Done()
			_, _ = io.WriteString(stdout, "cleaned up\n")
			return context.Cause(ctx)
		}}
		os.Exit(run(ctx, []command{wait}, []string{"wait"}, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestSignalEndsSubcommand(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), "VIRTLAB_TEST_WAIT=1")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			_, err = io.ReadFull(stdout, make([]byte, len("waiting\n")))
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Signal(sig))
			rest, err := io.ReadAll(stdout)
			require.NoError(t, err)
			assert.Equal(t, "cleaned up\n", string(rest))
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Wait(), &exit)
			assert.Equal(t, exitFailed, exit.ExitCode())
			assert.Contains(t, stderr.String(), "virtlab: interrupted:")
		})
	}
}
