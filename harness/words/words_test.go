package words

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1 s", 89 * time.Second: "89 s", 8 * time.Minute: "8 min", 100 * time.Minute: "1.7 h"} {
		assert.Equal(t, want, Roughly(d))
	}
}

func TestRoughlyOfAClass(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"1 s": time.Millisecond, "89 s": 89 * time.Second, "2 min": 95 * time.Second, "40 min": 40*time.Minute + time.Second, "2.5 h": 150 * time.Minute,
	} {
		assert.Equal(t, want, Roughly(d))
	}
}
