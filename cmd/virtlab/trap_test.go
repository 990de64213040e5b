package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/kvm"
	"virtlab/harness/trap"
)

func TestReadNonce(t *testing.T) {
	for _, c := range []struct {
		name, given, stdin string
		want               []byte
		says               string
	}{
		{"none", "", "unread", []byte{}, ""},
		{"on the command line", "6142", "unread", []byte("aB"), ""},
		{"on standard input", "-", "6142\n", []byte("aB"), ""},
		{"a line of standard input", "-", "6142\n43\n", []byte("aB"), ""},
		{"nothing on standard input", "-", "", []byte{}, ""},
		{"no hexadecimal", "xyz", "", nil, "-inject: encoding/hex: invalid byte"},
		{"half a byte", "-", "614", nil, "odd length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nonce, err := readNonce(c.given, bufio.NewReader(strings.NewReader(c.stdin)))
			if c.says != "" {
				assert.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, nonce)
		})
	}
}

func TestHeld(t *testing.T) {
	stdin, holder := io.Pipe()
	ctx, cancel := held(t.Context(), stdin)
	defer cancel()
	_, err := holder.Write([]byte("still here"))
	require.NoError(t, err)
	require.NoError(t, ctx.Err())
	require.NoError(t, holder.Close())
	<-ctx.Done()
	assert.ErrorIs(t, context.Cause(ctx), trap.ErrTimeLimit)
}

func TestPrintTrapped(t *testing.T) {
	var out bytes.Buffer
	printTrapped(&out, &trap.Log{
		Exits:  []trap.Exit{{Exit: kvm.Exit{Reason: kvm.ExitHLT}}},
		Stdout: kvm.Bytes("HELLO\x1b[2J"), Ending: trap.TimeLimit, Detail: "still running after 1s",
	})
	assert.Equal(t, "exit  0  KVM_EXIT_HLT\n\nit printed: \"HELLO\\x1b[2J\"\nit ended:   time limit: still running after 1s\n", out.String())
}
