//go:build slurm

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/corpus"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// slurmPackages are what a cluster of one machine takes.
var slurmPackages = []build.Package{
	{Name: "munge", Arch: "munge", Why: "lets Slurm's daemons trust each other", Probe: "munged"},
	{Name: "slurmctld", Arch: "slurm-llnl", Why: "Slurm's controller", Probe: "slurmctld"},
	{Name: "slurmd", Arch: "slurm-llnl", Why: "Slurm's daemon of a node", Probe: "slurmd"},
	{Name: "slurm-client", Arch: "slurm-llnl", Why: "sbatch, squeue, scancel", Probe: "sbatch"},
}

// TestSlurm grades a made-up class as a job array on a real Slurm, with the
// script that clusters are given.
func TestSlurm(t *testing.T) {
	root, err := harness.Root()
	require.NoError(t, err)
	t.Chdir(root)
	require.NoError(t, harness.Prepare(), "make setup first")
	dir, err := os.MkdirTemp("", "vlslurm")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	submissions, grades := filepath.Join(dir, "class"), filepath.Join(dir, "grades")
	students, err := corpus.Class(submissions, 4, 3, false)
	require.NoError(t, err)
	c := startSlurm(t, dir)

	first := c.array("-labs", "cpu,bench", "-o", grades, submissions)
	assert.Equal(t, len(students), strings.Count(first, " points  "), first)
	merged := c.virtlab("merge", "-o", grades, "-expect", submissions)
	assert.Contains(t, merged, fmt.Sprintf("%d reports", len(students)))
	checkGrades(t, filepath.Join(grades, result.GradesFile), students)

	again := c.array("-labs", "cpu,bench", "-o", grades, submissions)
	assert.Equal(t, len(students), strings.Count(again, "  kept\n"), again)
}

// checkGrades looks for each student in the class's table. Who handed in the
// reference has all points.
func checkGrades(t *testing.T, path string, students []corpus.Student) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, len(students)+1)
	column := func(name string) int { return slices.Index(rows[0], name) }
	for _, s := range students {
		_, id, _ := strings.Cut(strings.TrimSuffix(s.Zip, ".zip"), "-")
		i := slices.IndexFunc(rows, func(row []string) bool { return row[column("id")] == id })
		if !assert.GreaterOrEqual(t, i, 0, "%s is missing in\n%s", s.Zip, text) {
			continue
		}
		assert.Equal(t, "graded", rows[i][column("status")])
		if s.Case.Name == "" {
			assert.Equal(t, rows[i][column("max")], rows[i][column("score")], "%s handed in the reference", s.Zip)
		}
	}
}

// cluster is a Slurm of one node on the loopback interface.
type cluster struct {
	t   *testing.T
	dir string
	env []string
}

func startSlurm(t *testing.T, dir string) *cluster {
	t.Helper()
	installSlurm(t)
	c := &cluster{t: t, dir: dir, env: []string{"SLURM_CONF=" + filepath.Join(dir, "slurm.conf")}}
	require.NoError(t, os.Chmod(dir, 0o711)) // munged wants its socket in everybody's reach
	key := make([]byte, 128)
	_, _ = rand.Read(key)
	require.NoError(t, os.WriteFile(c.path("munge.key"), key, 0o600))
	require.NoError(t, os.WriteFile(c.path("slurm.conf"), []byte(c.config()), 0o644))
	for _, d := range []string{"state", "spool", "run"} {
		require.NoError(t, os.Mkdir(c.path(d), 0o755))
	}
	c.daemon("munged", "--foreground", "--socket="+c.path("run/munge"), "--key-file="+c.path("munge.key"),
		"--pid-file="+c.path("run/munged.pid"), "--seed-file="+c.path("run/munged.seed"), "--log-file="+c.path("munged.log"))
	c.wait("munged's socket", func() bool { _, err := os.Stat(c.path("run/munge")); return err == nil })
	c.daemon("slurmctld", "-D", "-f", c.path("slurm.conf"))
	c.daemon("slurmd", "-D", "-f", c.path("slurm.conf"))
	c.wait("an idle node", func() bool { out, _ := c.try("sinfo", "-h", "-o", "%t"); return strings.TrimSpace(out) == "idle" })
	t.Cleanup(c.cancelAll) // before the daemons end, which began before
	return c
}

// installSlurm installs what is missing, as make setup does.
func installSlurm(t *testing.T) {
	t.Helper()
	dir, err := build.DefaultDir()
	require.NoError(t, err)
	cache, err := build.OpenCache(dir, os.Stderr)
	require.NoError(t, err)
	require.NoError(t, build.NewInstaller(cache).Install(t.Context(), build.Missing(slurmPackages)))
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// config is a slurm.conf (slurm.conf(5)) without systemd, cgroups, accounting or
// root: everything runs as whoever runs the test.
func (c *cluster) config() string {
	host, err := os.Hostname()
	require.NoError(c.t, err)
	host, _, _ = strings.Cut(host, ".")
	return strings.NewReplacer("HOST", host, "DIR", c.dir, "USER", username(c.t),
		"PORT1", freePort(c.t), "PORT2", freePort(c.t)).Replace(`ClusterName=virtlab
SlurmctldHost=HOST(127.0.0.1)
SlurmctldPort=PORT1
SlurmdPort=PORT2
SlurmUser=USER
SlurmdUser=USER
AuthType=auth/munge
AuthInfo=socket=DIR/run/munge
StateSaveLocation=DIR/state
SlurmdSpoolDir=DIR/spool
SlurmctldPidFile=DIR/run/slurmctld.pid
SlurmdPidFile=DIR/run/slurmd.pid
SlurmctldLogFile=DIR/slurmctld.log
SlurmdLogFile=DIR/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
NodeName=HOST NodeAddr=127.0.0.1 CPUs=2 RealMemory=8192 State=UNKNOWN
PartitionName=main Nodes=HOST Default=YES State=UP
`)
}

func username(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("id", "-un").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// freePort asks the kernel for a port that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// program finds a program also where only root's PATH looks.
func program(name string) string {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	return name
}

// daemon starts a daemon that ends with the test, or with this process.
func (c *cluster) daemon(name string, args ...string) {
	c.t.Helper()
	log, err := os.Create(c.path(name + ".out"))
	require.NoError(c.t, err)
	defer log.Close()
	p, err := machine.Host.Start(context.Background(), machine.Cmd{
		Args: append([]string{program(name)}, args...), Env: c.env, Dir: c.dir, Stdout: log, Stderr: log,
	})
	require.NoError(c.t, err)
	c.t.Cleanup(func() {
		_ = p.Kill()
		_ = p.Wait()
		if c.t.Failed() {
			c.quote(name+".out", name+".log")
		}
	})
}

// quote shows the ends of logs.
func (c *cluster) quote(names ...string) {
	for _, name := range names {
		text, _ := os.ReadFile(c.path(name))
		c.t.Logf("%s ends:\n%s", name, text[max(0, len(text)-3000):])
	}
}

func (c *cluster) wait(what string, ready func() bool) {
	c.t.Helper()
	require.Eventually(c.t, ready, 30*time.Second, 100*time.Millisecond, "waiting for %s", what)
}

// try runs a client of Slurm's.
func (c *cluster) try(args ...string) (string, error) {
	return machine.RunCmd(c.t.Context(), machine.Host, machine.Cmd{Args: args, Env: c.env})
}

// array submits the script as an array of two tasks, waits for its end and gives
// what the tasks printed.
func (c *cluster) array(args ...string) (logs string) {
	c.t.Helper()
	job, err := c.try(append([]string{"sbatch", "--parsable", "--array=1-2", "--cpus-per-task=1", "--output=" + c.path("task-%A-%a.log"),
		"contrib/slurm/grade.sbatch"}, args...)...)
	require.NoError(c.t, err)
	job = strings.TrimSpace(job)
	// sbatch --wait asks every half a minute in the end.
	require.Eventually(c.t, func() bool { out, err := c.try("squeue", "-h", "-j", job); return err == nil && out == "" },
		3*time.Minute, 200*time.Millisecond, "the array does not end")
	states, err := c.try("scontrol", "show", "job", job)
	require.NoError(c.t, err)
	files, err := filepath.Glob(c.path("task-" + job + "-*.log"))
	require.NoError(c.t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(c.t, err)
		logs += string(text)
	}
	require.Equal(c.t, 2, strings.Count(states, "JobState=COMPLETED"), "%s\n%s", states, logs)
	return logs
}

func (c *cluster) virtlab(args ...string) string {
	c.t.Helper()
	out, err := c.try(append([]string{"out/virtlab"}, args...)...)
	require.NoError(c.t, err)
	return out
}

// cancelAll ends what a failed test left running: jobs are no children of the
// daemons.
func (c *cluster) cancelAll() {
	run := func(args ...string) string {
		out, _ := machine.RunCmd(context.Background(), machine.Host, machine.Cmd{Args: args, Env: c.env})
		return strings.TrimSpace(out)
	}
	run("scancel", "--user", username(c.t))
	assert.Eventually(c.t, func() bool { return run("squeue", "-h") == "" }, 60*time.Second, 200*time.Millisecond, "jobs are left")
}
