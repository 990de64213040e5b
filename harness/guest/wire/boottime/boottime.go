// Package boottime is how PID 1 tells the program that it runs when it had
// printed its marker. It is a package of its own so that neither program starts
// up with what only the other needs.
package boottime

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable with the time, in nanoseconds.
const Variable = "VIRTLAB_INIT_BOOTTIME"

// Now is CLOCK_BOOTTIME: the age of the kernel (clock_gettime(2)).
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("clock_gettime: %v", err)) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// Pass puts the time into this process's environment, from which programs that
// it starts have it.
func Pass(t time.Duration) { os.Setenv(Variable, strconv.FormatInt(int64(t), 10)) }

// Passed is the time that PID 1 passed, 0 where it passed none: it is another
// program, such as systemd.
func Passed() (time.Duration, error) {
	s := os.Getenv(Variable)
	if s == "" {
		return 0, nil
	}
	t, err := strconv.ParseInt(s, 10, 64)
	if err != nil || t <= 0 {
		return 0, fmt.Errorf("%s=%q is not a number of nanoseconds", Variable, s)
	}
	return time.Duration(t), nil
}
