package bench

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Startup is how long a system took to come up by systemd's own clock.
type Startup struct {
	Firmware, Loader time.Duration // 0 where the firmware does not tell
	Kernel           time.Duration
	Initrd           time.Duration // 0: none
	Userspace        time.Duration
	Total            time.Duration
}

// ErrNotFinished is the error for systemd-analyze asked while jobs were queued.
var ErrNotFinished = errors.New("systemd's job queue was not empty when systemd-analyze was asked")

var (
	startup      = regexp.MustCompile(`(?m)^Startup finished in (.+) = (.+?)\s*$`)
	startupPart  = regexp.MustCompile(`^(.+) \((firmware|loader|kernel|initrd|userspace)\)$`)
	timeSpan     = regexp.MustCompile(`^(?:\d+(?:\.\d+)?(?:y|month|w|d|h|min|s|ms|us)(?: |$))+$`)
	timeSpanPart = regexp.MustCompile(`(\d+(?:\.\d+)?)(h|min|s|ms|us)`)
)

// ParseStartup reads what `systemd-analyze time` prints (systemd-analyze(1)).
func ParseStartup(text string) (s Startup, err error) {
	if strings.Contains(text, "Bootup is not yet finished") {
		return s, fmt.Errorf("systemd-analyze time: %w", ErrNotFinished)
	}
	m := startup.FindStringSubmatch(text)
	if m == nil {
		return s, fmt.Errorf("systemd-analyze time: no start-up time in %q", firstLine(text))
	}
	if err := s.parts(m[1]); err != nil {
		return Startup{}, fmt.Errorf("systemd-analyze time: %w", err)
	}
	if s.Total, err = parseSpan(m[2]); err != nil {
		return Startup{}, fmt.Errorf("systemd-analyze time: total: %w", err)
	}
	return s, s.check()
}

// parts reads "1.2s (kernel) + 3.4s (userspace)".
func (s *Startup) parts(text string) error {
	into := map[string]*time.Duration{
		"firmware": &s.Firmware, "loader": &s.Loader, "kernel": &s.Kernel, "initrd": &s.Initrd, "userspace": &s.Userspace,
	}
	for part := range strings.SplitSeq(text, " + ") {
		m := startupPart.FindStringSubmatch(part)
		if m == nil {
			return fmt.Errorf("%q is no part of a start-up", part)
		}
		d, err := parseSpan(m[1])
		if err != nil {
			return fmt.Errorf("%s: %w", m[2], err)
		}
		*into[m[2]] = d
	}
	return nil
}

// check tells whether the parts make the total. Each is rounded to milliseconds
// or, from a minute on, to tens of them.
func (s Startup) check() error {
	sum := s.Firmware + s.Loader + s.Kernel + s.Initrd + s.Userspace
	if off := (sum - s.Total).Abs(); off > 50*time.Millisecond {
		return fmt.Errorf("systemd-analyze time: the parts sum up to %v, the total is %v", sum, s.Total)
	}
	return nil
}

// parseSpan reads a time span as systemd prints it (systemd.time(7)): "1min
// 2.345s", "87ms". Days are no start-up.
func parseSpan(text string) (sum time.Duration, err error) {
	if !timeSpan.MatchString(text) {
		return 0, fmt.Errorf("%q is no time span", text)
	}
	for field := range strings.FieldsSeq(text) {
		m := timeSpanPart.FindStringSubmatch(field)
		if m == nil || m[0] != field {
			return 0, fmt.Errorf("%q is too long for a start-up", text)
		}
		d, err := time.ParseDuration(m[1] + strings.Replace(m[2], "min", "m", 1))
		if err != nil {
			return 0, fmt.Errorf("%q is no time span: %w", text, err)
		}
		if sum += d; sum < 0 {
			return 0, fmt.Errorf("%q is too long for a start-up", text)
		}
	}
	return sum, nil
}
