package debian

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestConsoleSeesThePanic(t *testing.T) {
	var file strings.Builder
	c := newConsole(&file)
	fmt.Fprint(c, "[    1.0] VFS: Cannot open root device\r\n[    1.1] Kernel pa")
	fmt.Fprint(c, "nic - not syncing: VFS: Unable to mount root fs\r\n[    1.2] CPU: 0\r\n")
	select {
	case <-c.trouble:
	case <-time.After(5 * time.Second):
		t.Fatal("the panic was not seen")
	}
	assert.Equal(t, "[    1.1] Kernel panic - not syncing: VFS: Unable to mount root fs\n[    1.2] CPU: 0", c.last())
	assert.Contains(t, file.String(), "Cannot open root device")
}

func TestConsoleOfAQuietGuest(t *testing.T) {
	c := newConsole(nil)
	for i := range 20 {
		fmt.Fprintf(c, "line %d\r\n", i)
	}
	fmt.Fprint(c, "login: ")
	assert.True(t, strings.HasSuffix(c.last(), "line 19\r\nlogin:"), c.last())
	assert.NotContains(t, c.last(), "line 10")
	select {
	case <-c.trouble:
		t.Fatal("there is no trouble")
	default:
	}
}

func TestConsoleIsBounded(t *testing.T) {
	c := newConsole(nil)
	flood := strings.Repeat("x", 10<<10)
	for range 100 {
		fmt.Fprint(c, flood)
	}
	assert.LessOrEqual(t, len(c.text), consoleKeep)
	assert.LessOrEqual(t, len(c.line), 4096)
}
