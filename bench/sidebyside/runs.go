package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// earlier reads reports that -json wrote, from files separated by commas.
func earlier(files string) (reps []*report, err error) {
	for _, name := range strings.Split(files, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		rep := &report{}
		if err := json.Unmarshal(b, rep); err != nil {
			return nil, fmt.Errorf("-also: expected a file that -json wrote, found %s: %w", name, err)
		}
		reps = append(reps, rep)
	}
	return reps, nil
}

// against is the comparison of the row of this name with a server, nil if the report has none.
func (r *report) against(row, server string) *ratioReport {
	for i := range r.Rows {
		if r.Rows[i].Name == row {
			return r.Rows[i].against(server)
		}
	}
	return nil
}

// runsTable says which rows hold in every run, the earlier ones and this. Those of p99 hold below 1, all others at
// their targets.
func (r *report) runsTable(b *bytes.Buffer) {
	const rival = "memcached"
	if len(r.Earlier) == 0 {
		return
	}
	runs := append(append([]*report(nil), r.Earlier...), r)
	fmt.Fprintf(b, "\n## %d runs against %s\n\nThe medians of each run, this one the last. A row holds where every run does: its target for the processor time per\nrequest and for the throughput, no more than %s's for p99.\n", len(runs), rival, rival)
	for _, run := range runs[:len(runs)-1] {
		fmt.Fprintf(b, "- %s, %s\n", run.Machine.Commit, run.Machine.Date.Format("2006-01-02T15:04Z"))
	}
	fmt.Fprintf(b, "\n| row | target | CPU per request | holds | throughput | holds | p99 | holds |\n|---|---|---|---|---|---|---|---|\n")
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Target == 0 {
			continue
		}
		var cpu, rate, p99 []float64
		for _, run := range runs {
			if a := run.against(row.Name, rival); a != nil {
				cpu, rate, p99 = append(cpu, a.CPU.Median), append(rate, a.Rate.Median), append(p99, a.P99.Median)
			}
		}
		atLeast := func(v float64) bool { return v >= row.Target }
		atMost := func(v float64) bool { return v <= 1 }
		fmt.Fprintf(b, "| %s | %.2g | %s | %s | %s | %s | %s | %s |\n", row.Name, row.Target,
			list(cpu), verdict(cpu, atLeast), list(rate), verdict(rate, atLeast), list(p99), verdict(p99, atMost))
	}
}

func list(v []float64) string {
	s := make([]string, len(v))
	for i := range v {
		s[i] = fmt.Sprintf("%.2f", v[i])
	}
	return strings.Join(s, ", ")
}

// verdict says in how many runs a figure holds.
func verdict(v []float64, holds func(float64) bool) string {
	n := 0
	for _, x := range v {
		if holds(x) {
			n++
		}
	}
	switch n {
	case len(v):
		return "yes"
	case 0:
		return "no"
	}
	return fmt.Sprintf("%d of %d", n, len(v))
}
