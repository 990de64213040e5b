package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
	"virtlab/harness/shot"
)

// onStdin makes text, and what follows it on the returned file, this process's
// standard input.
func onStdin(t *testing.T, text string) *os.File {
	t.Helper()
	ours, theirs, err := os.Pipe()
	require.NoError(t, err)
	old := os.Stdin
	os.Stdin = ours
	t.Cleanup(func() {
		os.Stdin = old
		theirs.Close()
		ours.Close()
	})
	_, err = theirs.WriteString(text)
	require.NoError(t, err)
	return theirs
}

// TestShot runs a program that says what a guest says.
func TestShot(t *testing.T) {
	var done bytes.Buffer
	require.NoError(t, job.Encode(&done, job.Frame{Name: job.FrameDone}))
	spec, err := json.Marshal(shot.Spec{
		Argv:    []string{"printf", "%s\\n%s", "virtlab: init", done.String()},
		Console: shot.Stdout, Timeout: 10 * time.Second, Silence: 10 * time.Second, Grace: 10 * time.Second,
	})
	require.NoError(t, err)
	onStdin(t, string(spec)+"\n")
	var stdout, stderr bytes.Buffer
	require.NoError(t, runShot(t.Context(), nil, &stdout, &stderr))
	var o shot.Outcome
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &o))
	assert.Empty(t, o.Fault)
	assert.Equal(t, shot.ByGuest, o.End)
	assert.Positive(t, o.Init)
	assert.Positive(t, o.Done)
	assert.Empty(t, stderr.String())
}

func TestShotWithoutAHolder(t *testing.T) {
	spec, err := json.Marshal(shot.Spec{Argv: []string{"sleep", "1000"}, Console: shot.Stdout, Timeout: time.Hour, Silence: time.Hour})
	require.NoError(t, err)
	holder := onStdin(t, string(spec)+"\n")
	time.AfterFunc(100*time.Millisecond, func() { holder.Close() })
	var stdout, stderr bytes.Buffer
	err = runShot(t.Context(), nil, &stdout, &stderr)
	assert.ErrorContains(t, err, "nobody waits for the outcome")
	assert.Empty(t, stdout.String())
}

func TestShotWithArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.ErrorIs(t, runShot(t.Context(), []string{"qemu"}, &stdout, &stderr), errUsage)
	assert.Contains(t, stderr.String(), `unexpected argument "qemu"`)
}
