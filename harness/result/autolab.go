package result

import (
	"encoding/json"
	"strings"
)

// Autolab is the line that Autolab wants as the last one of an autograder's
// output: {"scores":{"CPU":25}}. Its problems are the labs: CPU, Memory, IO,
// Comparison. A lab that was not graded, or whose grading failed, is left out;
// Autolab then keeps that problem open. What a person grades is never in it.
func Autolab(r *Report) string {
	scores := map[string]float64{}
	for _, lab := range r.ByLab() {
		if lab.Lab != ByHand && !lab.Broken() && r.Error == "" {
			scores[problem(lab.Lab)] = lab.Points
		}
	}
	// Numbers that Valid lets pass always encode.
	text, _ := json.Marshal(map[string]any{"scores": scores})
	return string(text)
}

// problem is a lab's name in Autolab, where a slash would do no good.
func problem(lab Lab) string { return strings.ReplaceAll(lab.Title(), "/", "") }

// autolabOutput is the whole output of an autograder: what the student reads,
// and the line.
func autolabOutput(r *Report) ([]byte, error) {
	text, err := Text(r)
	if err != nil {
		return nil, err
	}
	return append(text, "\n"+Autolab(r)+"\n"...), nil
}
