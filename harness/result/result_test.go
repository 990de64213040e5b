package result_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func TestErrorText(t *testing.T) {
	bare := result.Errorf(result.VMM, "reading %s: %w", "/x", fs.ErrNotExist)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"without a hint", bare, "vmm: reading /x: file does not exist"},
		{"with a hint", bare.WithHint("copy %q first", "x"), "vmm: reading /x: file does not exist\n  what to do: copy \"x\" first"},
		{"hint of an owner inside another", result.Errorf(result.Guest, "boot: %w", bare), "guest: boot: vmm: reading /x: file does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) { assert.EqualError(t, c.err, c.want) })
	}
}

func TestWithHintLeavesTheOriginal(t *testing.T) {
	e := result.Errorf(result.Host, "no space")
	hinted := e.WithHint("remove the cache")
	assert.Empty(t, e.Hint)
	assert.Equal(t, "remove the cache", hinted.Hint)
	assert.Equal(t, e.Err, hinted.Err)
}

func TestCauseIsReachable(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}
	err := fmt.Errorf("lab: %w", result.Errorf(result.Host, "cache: %w", path).WithHint("chmod"))
	assert.ErrorIs(t, err, fs.ErrPermission)
	var got *fs.PathError
	require.ErrorAs(t, err, &got)
	assert.Same(t, path, got)
	assert.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestOwnerOf(t *testing.T) {
	vmm := result.Errorf(result.VMM, "gone")
	for _, c := range []struct {
		name string
		err  error
		want result.Owner
	}{
		{"itself", vmm, result.VMM},
		{"wrapped", fmt.Errorf("boot: %w", vmm), result.VMM},
		{"joined", errors.Join(errors.New("other"), vmm), result.VMM},
		{"the outermost owner", result.Errorf(result.Submission, "run: %w", vmm), result.Submission},
		{"the first of two", errors.Join(result.Errorf(result.Guest, "panic"), vmm), result.Guest},
		{"nobody's is the host's", fs.ErrNotExist, result.Host},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, result.OwnerOf(c.err)) })
	}
}
