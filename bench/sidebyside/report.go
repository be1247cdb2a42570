package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"sememcached/bench/rig"
)

// report is everything that a run has found out; it is what -json writes.
type report struct {
	Machine  rig.Machine       `json:"machine"`
	Command  string            `json:"command"`
	Settings string            `json:"settings"`
	Versions map[string]string `json:"versions"`
	Rows     []rowReport       `json:"rows"`
	Memory   []memoryReport    `json:"memory,omitempty"`
	Slap     []slapReport      `json:"memcslap,omitempty"`
	Earlier  []*report         `json:"-"` // of the same rows, by -also
}

type rowReport struct {
	Name    string         `json:"name"`
	About   string         `json:"about"`
	Target  float64        `json:"target,omitempty"`
	Servers []serverReport `json:"servers"` // ours first
	Against []ratioReport  `json:"against"` // ours against each of the others
}

type serverReport struct {
	Name               string         `json:"name"`
	Ceiling            bool           `json:"ceiling,omitempty"`
	Command            string         `json:"command"`
	Samples            []rig.Sample   `json:"samples"`
	Median             rig.Sample     `json:"median"` // of each figure by itself
	RSSPerItem         float64        `json:"rss_bytes_per_item,omitempty"`
	GCShare            float64        `json:"gc_percent"` // of the processor time since the start, ours only
	SyscallsPerRequest float64        `json:"syscalls_per_request,omitempty"`
	Syscalls           map[string]int `json:"syscalls,omitempty"`
}

// ratioReport compares ours with one other server, repetition by repetition. All
// ratios are above 1 where ours is better, but for P99, which is the latency of
// ours divided by the other's.
type ratioReport struct {
	Name string     `json:"name"`
	Rate rig.Spread `json:"throughput"`
	CPU  rig.Spread `json:"cpu_per_request"`
	P50  rig.Spread `json:"p50"`
	P99  rig.Spread `json:"p99"`
}

func column(ss []rig.Sample, f func(*rig.Sample) float64) []float64 {
	out := make([]float64, len(ss))
	for i := range ss {
		out[i] = f(&ss[i])
	}
	return out
}

func medianSample(ss []rig.Sample) rig.Sample {
	m := func(f func(*rig.Sample) float64) float64 { return rig.SpreadOf(column(ss, f)).Median }
	d := func(f func(*rig.Sample) time.Duration) time.Duration {
		return time.Duration(m(func(s *rig.Sample) float64 { return float64(f(s)) }))
	}
	return rig.Sample{
		Rate:      m(func(s *rig.Sample) float64 { return s.Rate }),
		KeyRate:   m(func(s *rig.Sample) float64 { return s.KeyRate }),
		CPU:       m(func(s *rig.Sample) float64 { return s.CPU }),
		UserShare: m(func(s *rig.Sample) float64 { return s.UserShare }),
		Generator: m(func(s *rig.Sample) float64 { return s.Generator }),
		HitRatio:  m(func(s *rig.Sample) float64 { return s.HitRatio }),
		Busy:      m(func(s *rig.Sample) float64 { return s.Busy }),
		P50:       d(func(s *rig.Sample) time.Duration { return s.P50 }),
		P99:       d(func(s *rig.Sample) time.Duration { return s.P99 }),
		P999:      d(func(s *rig.Sample) time.Duration { return s.P999 }),
	}
}

func newRowReport(r row, servers []*rig.Server, samples [][]rig.Sample) rowReport {
	out := rowReport{Name: r.name, About: r.about(), Target: r.target}
	for i, s := range servers {
		out.Servers = append(out.Servers, serverReport{
			Name: s.Kind.Name, Ceiling: s.Kind.Ceiling, Command: rig.PlainCommand(s.Command),
			Samples: samples[i], Median: medianSample(samples[i]),
		})
		if i == 0 {
			continue
		}
		ours, theirs := samples[0], samples[i]
		ratio := func(a, b []rig.Sample, f func(*rig.Sample) float64) rig.Spread {
			return rig.SpreadOf(rig.Ratios(column(a, f), column(b, f)))
		}
		out.Against = append(out.Against, ratioReport{
			Name: s.Kind.Name,
			Rate: ratio(ours, theirs, func(s *rig.Sample) float64 { return s.Rate }),
			CPU:  ratio(theirs, ours, func(s *rig.Sample) float64 { return s.CPU }),
			P50:  ratio(ours, theirs, func(s *rig.Sample) float64 { return float64(s.P50) }),
			P99:  ratio(ours, theirs, func(s *rig.Sample) float64 { return float64(s.P99) }),
		})
	}
	return out
}

// rival is one of the servers that ours is compared with.
type rival struct {
	name    string
	ceiling bool
}

// rivals are all servers that some row compares ours with.
func (r *report) rivals() (out []rival) {
	for i := range r.Rows {
		for j, a := range r.Rows[i].Against {
			v := rival{a.Name, r.Rows[i].Servers[j+1].Ceiling}
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// against is the comparison with a server, nil where the row has none.
func (r *rowReport) against(name string) *ratioReport {
	for i := range r.Against {
		if r.Against[i].Name == name {
			return &r.Against[i]
		}
	}
	return nil
}

// sort puts the rows into the order in which they were asked for.
func (r *report) sort(rows []row) {
	at := map[string]int{}
	for i, w := range rows {
		at[w.name] = i
	}
	slices.SortStableFunc(r.Rows, func(a, b rowReport) int { return at[a.Name] - at[b.Name] })
}

// oneLine is what is shown while the run goes on.
func (r *rowReport) oneLine(w io.Writer) {
	fmt.Fprintf(w, "%-11s", r.Name)
	for _, a := range r.Against {
		fmt.Fprintf(w, "  %s: throughput %s CPU %s p99 %.2f", a.Name, spread(a.Rate), spread(a.CPU), a.P99.Median)
	}
	fmt.Fprintln(w)
}

func spread(s rig.Spread) string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Low, s.High) }

func (r *report) print(w io.Writer) {
	fmt.Fprintln(w)
	_, _ = w.Write(r.markdown())
}
