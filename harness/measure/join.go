package measure

import "math"

// Join puts the tables of several files together. The same cell in two files is
// two repeats, unless the numbers are the same: then one file is what the other
// one was made from, such as sysbench's output beside a table of it.
func Join(tables ...*Table) *Table {
	j := joiner{all: &Table{}, last: map[key]int{}, rows: map[key][]*Row{}}
	for _, t := range tables {
		j.add(t)
	}
	return j.all
}

type joiner struct {
	all  *Table
	last map[key]int    // repeats so far
	rows map[key][]*Row // of the files so far, not more than mostRepeats each
}

// mostRepeats of a cell are compared with those of another file.
const mostRepeats = 50

func (j *joiner) add(t *Table) {
	base, added := map[key]int{}, map[key][]*Row{}
	for _, r := range t.Rows {
		k := r.key()
		if old := r.among(j.rows[k]); old != nil {
			old.merge(r)
			j.all.note("%s and %s give the same run", old.Pos.File, r.Pos.File)
			continue
		}
		if _, ok := base[k]; !ok {
			base[k] = j.last[k]
		}
		r.Repeat += base[k]
		j.last[k] = max(j.last[k], r.Repeat)
		if len(added[k]) < mostRepeats {
			added[k] = append(added[k], r)
		}
		j.all.Rows = append(j.all.Rows, r)
	}
	for k, rows := range added {
		j.rows[k] = append(j.rows[k], rows...)
	}
	j.all.Problems = append(j.all.Problems, t.Problems...)
	j.all.Notes = append(j.all.Notes, t.Notes...)
	j.all.dropped += t.dropped
}

// among finds the row that is of the same run.
func (r *Row) among(rows []*Row) *Row {
	for _, old := range rows {
		if r.sameRun(old) {
			return old
		}
	}
	return nil
}

// sameRun tells whether all numbers that two rows share are the same, and one of
// them has digits enough to tell runs apart. The sizes of a process do repeat.
func (r *Row) sameRun(other *Row) bool {
	if r.Cell.Test == Footprint {
		return false
	}
	telling := false
	for m, v := range r.Values {
		w, ok := other.Values[m]
		if !ok {
			continue
		}
		if math.Abs(v.Value-w.Value) > v.Half+w.Half {
			return false
		}
		telling = telling || min(significant(v.Text), significant(w.Text)) >= copiedDigits-1
	}
	return telling
}

// merge takes over what only the other row of a run says.
func (r *Row) merge(other *Row) {
	for m, v := range other.Values {
		if _, has := r.Values[m]; !has {
			r.Values[m] = v
		}
	}
	for f, s := range other.Facts {
		if _, has := r.Facts[f]; !has {
			r.Facts[f] = s
		}
	}
}
