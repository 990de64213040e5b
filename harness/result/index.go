package result

import (
	"math"
	"slices"
)

// index is what the page of a class shows.
type index struct {
	Reports []*Report
	Labs    []Lab
	Rates   []rate
	Bins    []bin
	Graded  int // reports that are a basis for a grade; the statistics are theirs
	Mean    float64
	Median  float64
	Max     float64
	Repeat  []*Report   // those that are none
	Same    [][]*Report // with the same content
}

// IndexHTML is the page of a class: who has what, what failed how often, and
// what a teacher has to look at.
func IndexHTML(reports []*Report) ([]byte, error) {
	labs, checks := columns(reports)
	x := index{Reports: reports, Labs: labs, Same: sameContent(reports)}
	var graded []*Report
	for _, r := range reports {
		x.Max = max(x.Max, r.Max)
		if r.Failed() {
			x.Repeat = append(x.Repeat, r)
			continue
		}
		graded = append(graded, r)
	}
	x.Graded = len(graded)
	x.Mean, x.Median = center(graded)
	x.Bins = histogram(graded)
	for _, id := range checks {
		x.Rates = append(x.Rates, rateOf(id, reports))
	}
	return render("class.html", x)
}

// center is the mean and the median of the scores.
func center(reports []*Report) (mean, median float64) {
	if len(reports) == 0 {
		return 0, 0
	}
	var scores []float64
	for _, r := range reports {
		scores = append(scores, r.Score)
		mean += r.Score
	}
	slices.Sort(scores)
	n := len(scores)
	return round(mean / float64(n)), round((scores[(n-1)/2] + scores[n/2]) / 2)
}

// rate is how a class did in one check.
type rate struct {
	Check
	Pass, Fail, NotGraded, Broken, All int
	ByHand                             bool
}

func rateOf(id string, reports []*Report) (out rate) {
	for _, r := range reports {
		for i := range r.Verdicts {
			v := &r.Verdicts[i]
			if v.ID != id {
				continue
			}
			out.Check, out.ByHand = v.Check, v.ByHand()
			out.add(v.Outcome)
		}
	}
	return out
}

func (r *rate) add(o Outcome) {
	r.All++
	switch o {
	case Pass:
		r.Pass++
	case Fail:
		r.Fail++
	case NotGraded:
		r.NotGraded++
	default:
		r.Broken++
	}
}

// Bar is the rate as the widths of a bar's parts, in percent.
func (r rate) Bar() bar {
	all := float64(r.All)
	return bar{percent(float64(r.Pass), all), percent(float64(r.NotGraded+r.Broken), all)}
}

// Percent is the share of the class that passed.
func (r rate) Percent() float64 { return math.Round(percent(float64(r.Pass), float64(r.All))) }

// bin is one bar of the histogram. X and Y are its upper left corner in the
// drawing, binCount*binWidth wide and binHeight high.
type bin struct {
	From, To, Count int // percent of the points
	X, Y, Height    float64
}

const (
	binCount  = 10
	binWidth  = 64
	binHeight = 160
)

// histogram counts the scores by tenths of what could be reached; full points
// are in the last.
func histogram(reports []*Report) []bin {
	bins := make([]bin, binCount)
	highest := 1
	for _, r := range reports {
		at := min(int(percent(r.Score, r.Max)/(100/binCount)), binCount-1)
		bins[at].Count++
		highest = max(highest, bins[at].Count)
	}
	for i := range bins {
		b := &bins[i]
		b.From, b.To = i*100/binCount, (i+1)*100/binCount
		b.Height = math.Round(binHeight * float64(b.Count) / float64(highest))
		b.X, b.Y = float64(i*binWidth), binHeight-b.Height
	}
	return bins
}

// sameContent groups the reports whose submissions are the same to the byte,
// whatever they were packed in. That is a reason to ask, not a proof.
func sameContent(reports []*Report) (groups [][]*Report) {
	byDigest := map[string][]*Report{}
	for _, r := range reports {
		if r.Digest != "" {
			byDigest[r.Digest] = append(byDigest[r.Digest], r)
		}
	}
	for _, r := range reports {
		if group := byDigest[r.Digest]; len(group) > 1 {
			groups = append(groups, group)
			delete(byDigest, r.Digest)
		}
	}
	return groups
}
