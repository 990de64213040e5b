package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// filled is a directory with a plan and two results in it.
func filled(t *testing.T) (dir string, plan Plan) {
	t.Helper()
	plan = small(t)
	s, dir := create(t, plan)
	for i := range 2 {
		require.NoError(t, s.Add(Result{Run: plan.Runs[i], Start: time.Unix(int64(i), 0).UTC(), Samples: []Sample{{Metric: "init-sec", Value: 0.1 + float64(i)}}}))
	}
	require.NoError(t, s.Close())
	return dir, plan
}

func TestStoreIsOpenOnce(t *testing.T) {
	s, dir := create(t, small(t))
	_, err := Resume(dir, "v1")
	assert.ErrorContains(t, err, "is running in")
	require.NoError(t, s.Close())
	again, err := Resume(dir, "v1")
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestStoreRefuses(t *testing.T) {
	dir, plan := filled(t)
	_, err := Create(dir, "v1", plan)
	assert.ErrorContains(t, err, "holds a benchmark already")
	_, err = Resume(dir, "v2")
	assert.ErrorContains(t, err, "another version of virtlab (v1, this is v2)")
	_, err = Resume(t.TempDir(), "v1")
	assert.ErrorContains(t, err, "holds no benchmark")
	_, err = Load(filepath.Join(dir, "not"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	edit := func(t *testing.T, change func(*planned)) {
		p, err := readPlan(dir)
		require.NoError(t, err)
		change(&p)
		require.NoError(t, writeJSON(filepath.Join(dir, planFile), p))
	}
	edit(t, func(p *planned) { p.Plan.Runs[1].VMM = "another" })
	_, err = Resume(dir, "v1")
	assert.ErrorContains(t, err, "line 2: run 1 is not in this plan")
	edit(t, func(p *planned) { p.Plan.Runs = p.Plan.Runs[:1] })
	_, err = Load(dir)
	assert.ErrorContains(t, err, "not in this plan")
	edit(t, func(p *planned) { p.Format = 99 })
	_, err = Load(dir)
	assert.ErrorContains(t, err, "format 99")
}

// A machine that lost power leaves half a line: it is dropped, and nothing else.
func TestStoreDropsHalfALine(t *testing.T) {
	dir, plan := filled(t)
	runs := filepath.Join(dir, runsFile)
	whole, err := os.ReadFile(runs)
	require.NoError(t, err)
	line, err := json.Marshal(Result{Run: plan.Runs[2]})
	require.NoError(t, err)
	for _, half := range []int{1, len(line) / 2, len(line)} {
		require.NoError(t, os.WriteFile(runs, append(whole[:len(whole):len(whole)], line[:half]...), 0o644))
		d, err := Load(dir)
		require.NoError(t, err)
		assert.Len(t, d.Results, 2)
		s, err := Resume(dir, "v1")
		require.NoError(t, err)
		require.NoError(t, s.Add(Result{Run: plan.Runs[2]}))
		require.NoError(t, s.Close())
		d, err = Load(dir)
		require.NoError(t, err)
		assert.Len(t, d.Results, 3)
	}
	require.NoError(t, os.WriteFile(runs, append([]byte("{\n"), whole...), 0o644))
	_, err = Load(dir)
	assert.ErrorContains(t, err, "line 1")
	require.NoError(t, os.WriteFile(runs, append(whole[:len(whole):len(whole)], whole...), 0o644))
	_, err = Load(dir)
	assert.ErrorContains(t, err, "run 0 is there twice")
}

func TestStoreKeepsTheManifest(t *testing.T) {
	s, dir := create(t, small(t))
	require.NoError(t, s.SetManifest(map[string]string{"kernel": "6.1"}))
	d, err := Load(dir)
	require.NoError(t, err)
	assert.JSONEq(t, `{"kernel":"6.1"}`, string(d.Manifest))
	require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), []byte("{"), 0o644))
	_, err = Load(dir)
	assert.ErrorContains(t, err, "manifest.json")
}

func FuzzReadResults(f *testing.F) {
	plan, err := Draw(Options{Mode: Quick, Contenders: two()})
	require.NoError(f, err)
	for i := range 3 {
		line, err := json.Marshal(Result{Run: plan.Runs[i], Fault: "x"})
		require.NoError(f, err)
		f.Add(append(line, '\n'))
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		results, whole, err := readResults(text, plan)
		if err != nil {
			return
		}
		assert.LessOrEqual(t, whole, int64(len(text)))
		for _, r := range results {
			assert.Equal(t, plan.Runs[r.Run.Index].VMM, r.Run.VMM)
		}
	})
}
