package debian

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Connection is a line of QEMU's `info usernet`: a connection of the user
// network, or a port on which QEMU listens for one.
type Connection struct {
	Protocol   string // "TCP", "UDP", "ICMP"
	State      string // "HOST_FORWARD", "ESTABLISHED", "234 sec"
	Source     string // address; "*" is any
	SourcePort int
	Dest       string
	DestPort   int
}

// usernetLine reads "  TCP[HOST_FORWARD]  12       127.0.0.1 37685       10.0.2.15    22     0     0"
// (libslirp, slirp_connection_info). An ICMP line has "-" in place of ports.
var usernetLine = regexp.MustCompile(`^\s*([A-Z]+)\[([^]]+)\]\s+-?\d+\s+(\S+)\s+(\d+|-)\s+(\S+)\s+(\d+|-)\s+\d+\s+\d+\s*$`)

// ParseUsernet reads what the monitor's command `info usernet` prints, of all
// user networks. Lines that are no connection are headings.
func ParseUsernet(text string) ([]Connection, error) {
	var all []Connection
	for line := range strings.Lines(text) {
		m := usernetLine.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, "HOST_FORWARD") {
				return nil, fmt.Errorf("info usernet: not a connection: %q", strings.TrimSpace(line))
			}
			continue
		}
		c := Connection{Protocol: m[1], State: m[2], Source: m[3], Dest: m[5]}
		var err error
		if c.SourcePort, err = port(m[4]); err == nil {
			c.DestPort, err = port(m[6])
		}
		if err != nil {
			return nil, fmt.Errorf("info usernet: %q: %w", strings.TrimSpace(line), err)
		}
		all = append(all, c)
	}
	return all, nil
}

func port(s string) (int, error) {
	if s == "-" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err
}

// ForwardedPort is the TCP port of the host behind which is port guest of the
// guest.
func ForwardedPort(usernet string, guest int) (int, error) {
	all, err := ParseUsernet(usernet)
	if err != nil {
		return 0, err
	}
	for _, c := range all {
		if c.Protocol == "TCP" && c.State == "HOST_FORWARD" && c.DestPort == guest && c.SourcePort > 0 {
			return c.SourcePort, nil
		}
	}
	return 0, fmt.Errorf("info usernet: no port is forwarded to port %d of the guest: %q", guest, usernet)
}
