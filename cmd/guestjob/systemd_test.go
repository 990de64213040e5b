package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
)

// fakeSystemd puts programs into PATH that answer in the form of systemd's own.
func fakeSystemd(t *testing.T, state, userspace, analyze string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"systemctl": `case "$1" in
is-system-running) ` + state + `;;
show) ` + userspace + `;;
--failed) echo "ssh.service loaded failed failed OpenBSD Secure Shell server";;
*) exit 9;;
esac`,
		"systemd-analyze": analyze,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	t.Setenv("PATH", dir)
}

const finished = "Startup finished in 1.204s (kernel) + 4.519s (userspace) = 5.724s \ngraphical.target reached after 4.498s in userspace."

func TestSystemd(t *testing.T) {
	fakeSystemd(t, "echo degraded; exit 1", "echo 1204567", `echo "`+finished+`"`)
	r, console := newRunner(t)
	require.NoError(t, r.systemd())
	assert.Equal(t, job.Systemd{
		Userspace: 1204567 * time.Microsecond, State: "degraded", Analyze: finished,
		Failed: "ssh.service loaded failed failed OpenBSD Secure Shell server",
	}, contentOf[job.Systemd](t, decode(t, console()), job.FrameSystemd))
}

func TestSystemdErrors(t *testing.T) {
	const running, start, analyzed = "echo running", "echo 1", "echo finished"
	for want, answers := range map[string][3]string{
		`"maintenance" (exit status 1): the guest did not come up`: {"echo maintenance; exit 1", start, analyzed},
		"System has not been booted with systemd":                  {"echo 'System has not been booted with systemd as init system' >&2; exit 1", start, analyzed},
		`UserspaceTimestampMonotonic is "0"`:                       {running, "echo 0", analyzed},
		`UserspaceTimestampMonotonic is ""`:                        {running, "echo", analyzed},
		"systemd-analyze time: exit status 1: Bootup is not yet":   {running, start, "echo Bootup is not yet finished; exit 1"},
	} {
		fakeSystemd(t, answers[0], answers[1], answers[2])
		r, console := newRunner(t)
		assert.ErrorContains(t, r.systemd(), want)
		assert.Empty(t, console())
	}
}
