package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// markdown is the report for people.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	m := &r.Machine
	fmt.Fprintf(&b, "# Side by side\n\n")
	fmt.Fprintf(&b, "- command: `%s`\n- commit: %s, %s\n", r.Command, m.Commit, m.Date.Format(time.RFC3339))
	fmt.Fprintf(&b, "- machine: %s\n", m)
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, r.Versions[name])
	}
	fmt.Fprintf(&b, "- %s\n", r.Settings)
	if len(r.Rows) == 0 {
		return b.Bytes()
	}
	r.runsTable(&b)
	for _, v := range r.rivals() {
		r.ratios(&b, v)
	}
	r.memoryTable(&b)
	r.slapTable(&b)
	r.absolute(&b)
	return b.Bytes()
}

// ratios is the table of ours against one other server.
func (r *report) ratios(b *bytes.Buffer, v rival) {
	name, ceiling := v.name, v.ceiling
	if ceiling { // by epoll, or by io_uring, as its name says
		fmt.Fprintf(b, "\n## Share of the %s\n\nA C server that makes the same system calls, stores nothing and answers every get with a hit.\n1 is what is possible.\n\n", name)
	} else {
		fmt.Fprintf(b, "\n## Against %s\n\nMedian of the paired ratios, with the smallest and the largest; above 1, ours is better. The columns p50 and p99\nare ours divided by %s's: below 1, ours is better.\n\n", name, name)
	}
	fmt.Fprintf(b, "| row | load | throughput | CPU per request | target | p50 | p99 |\n|---|---|---|---|---|---|---|\n")
	for j := range r.Rows {
		row := &r.Rows[j]
		a := row.against(name)
		if a == nil {
			continue
		}
		target := ""
		if row.Target > 0 && !ceiling {
			target = fmt.Sprintf("%.2g", row.Target)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.2f | %.2f |\n", row.Name, row.About, spread(a.Rate), spread(a.CPU), target, a.P50.Median, a.P99.Median)
	}
}

// absolute is the table of what every server did.
func (r *report) absolute(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Figures\n\nMedians. CPU is the server's, in microseconds per request, with its share in user space; \"busy\" is the part of a\ncore that it used; GC is the garbage collector's share of the process, as GODEBUG=gctrace=1 tells it.\n\n")
	fmt.Fprintf(b, "| row | server | requests/s | keys/s | CPU | user | busy | generator CPU | p50 us | p99 us | p99.9 us | system calls per request | RSS per item | GC |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range r.Rows {
		for j := range r.Rows[i].Servers {
			s := &r.Rows[i].Servers[j]
			m := &s.Median
			calls, rss, gc := "", "", ""
			if j == 0 {
				gc = fmt.Sprintf("%.0f %%", s.GCShare)
			}
			if s.SyscallsPerRequest > 0 {
				calls = fmt.Sprintf("%.2f", s.SyscallsPerRequest)
			}
			if s.RSSPerItem > 0 {
				rss = fmt.Sprintf("%.0f", s.RSSPerItem)
			}
			fmt.Fprintf(b, "| %s | %s | %.0f | %.0f | %.2f | %.0f %% | %.2f | %.2f | %s | %s | %s | %s | %s | %s |\n",
				r.Rows[i].Name, s.Name, m.Rate, m.KeyRate, m.CPU, 100*m.UserShare, m.Busy, m.Generator,
				us(m.P50), us(m.P99), us(m.P999), calls, rss, gc)
		}
	}
}

func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e3) }
