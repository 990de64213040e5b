package qmp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// HMP runs a command line of the human monitor (QEMU only) and returns its
// output with LF line ends; QEMU prints CRLF. Output that QEMU marks as an
// error ("Error: ...", "unknown command: ...") becomes an *HMPError; other
// complaints cannot be told from output and are returned as text.
func (m *Monitor) HMP(ctx context.Context, line string) (string, error) {
	args := map[string]string{"command-line": line}
	var out string
	if err := m.Execute(ctx, "human-monitor-command", args, &out); err != nil {
		return "", fmt.Errorf("human monitor: %s: %w", line, err)
	}
	out = strings.ReplaceAll(out, "\r\n", "\n")
	if strings.HasPrefix(out, "Error: ") || strings.HasPrefix(out, "unknown command: ") {
		return "", &HMPError{Line: line, Text: strings.TrimSpace(out)}
	}
	return out, nil
}

// XP reads n 64-bit words of the guest's physical memory from addr on, as the
// VMM sees it. An address where there is nothing to read gives an *HMPError.
func (m *Monitor) XP(ctx context.Context, addr uint64, n int) ([]uint64, error) {
	if n < 1 {
		return nil, fmt.Errorf("xp: cannot read %d words", n)
	}
	line := fmt.Sprintf("xp /%dgx %#x", n, addr)
	text, err := m.HMP(ctx, line)
	if err != nil {
		return nil, err
	}
	words, err := parseXP(text, addr, n)
	if err != nil {
		return nil, &HMPError{Line: line, Text: err.Error()}
	}
	return words, nil
}

// ReadPhys reads the 64-bit word at a physical address of the guest.
func (m *Monitor) ReadPhys(ctx context.Context, addr uint64) (uint64, error) {
	words, err := m.XP(ctx, addr, 1)
	if err != nil {
		return 0, err
	}
	return words[0], nil
}

// inFlight is how many commands ReadPhysN keeps on their way. QEMU queues 8
// commands and then stops reading; more would gain nothing.
const inFlight = 8

// ReadPhysN reads the 64-bit words at several physical addresses, in their
// order. It does not wait for one before it asks for the next, which matters
// where the monitor is reached through a guest. The words are not a snapshot:
// stop the machine first if they must belong together.
func (m *Monitor) ReadPhysN(ctx context.Context, addrs ...uint64) ([]uint64, error) {
	words := make([]uint64, len(addrs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i, addr := range addrs {
		group.Go(func() (err error) {
			words[i], err = m.ReadPhys(ctx, addr)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return words, nil
}

// parseXP reads the output of "xp /NNgx ADDR": lines of an address, a colon
// and one or two words.
func parseXP(text string, addr uint64, n int) ([]uint64, error) {
	var words []uint64
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		next, err := parseXPLine(line, addr+8*uint64(len(words)))
		if err != nil {
			return nil, err
		}
		words = append(words, next...)
	}
	if len(words) != n {
		return nil, fmt.Errorf("%d words asked for, %d came: %q", n, len(words), text)
	}
	return words, nil
}

// parseXPLine reads one line, which must begin at addr.
func parseXPLine(line string, addr uint64) ([]uint64, error) {
	where, values, found := strings.Cut(line, ":")
	if !found {
		return nil, errors.New(line)
	}
	if at, err := strconv.ParseUint(where, 16, 64); err != nil || at != addr {
		return nil, fmt.Errorf("a line for address %#x was expected, not %q", addr, line)
	}
	var words []uint64
	for field := range strings.FieldsSeq(values) {
		digits, isHex := strings.CutPrefix(field, "0x")
		word, err := strconv.ParseUint(digits, 16, 64)
		if !isHex || err != nil {
			return nil, errors.New(strings.TrimSpace(values)) // "Cannot access memory"
		}
		words = append(words, word)
	}
	return words, nil
}
