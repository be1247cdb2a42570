package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// straceRequests is how many requests are made under strace.
const straceRequests = 3000

// bench measures groups of rows.
type bench struct {
	*settings
	kinds []rig.Kind
	dir   string
	log   io.Writer
}

// group starts all servers, fills them, and measures the rows, which share the
// place and the items.
func (b *bench) group(rows []row) (out []rowReport, err error) {
	c := rows[0].config(b.settings)
	place := rig.Place{
		Unix: rows[0].unix, Dir: b.dir, Threads: b.threads, ValueSize: c.ValueSize,
		MemoryMB: rig.MemoryFor(c.Keys, c.ValueSize),
	}
	limit := limited[rows[0].preset]
	if limit > 0 {
		place.MemoryMB = limit
	}
	if b.pin {
		place.CPUs = []int{0}
	}
	var servers []*rig.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	kinds := b.kinds
	if c.Protocol != load.Text {
		// The ceiling knows the text protocol only.
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(k rig.Kind) bool { return k.Ceiling })
	}
	rss := make([]float64, len(kinds))
	for i, k := range kinds {
		s, err := rig.Start(k, place)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
		if k.Ceiling {
			continue
		}
		if err := rig.Fill(s, c); err != nil {
			return nil, err
		}
		if limit > 0 {
			continue // not all items are held
		}
		n, err := rig.RSS(s.PID)
		if err != nil {
			return nil, err
		}
		rss[i] = float64(n) / float64(c.Keys)
		fmt.Fprintf(b.log, "# %s: %d keys, %.0f bytes resident for each\n", s.Kind.Name, c.Keys, rss[i])
	}
	for _, r := range rows {
		rr, err := b.row(r, servers)
		if err != nil {
			return nil, fmt.Errorf("row %s: %w", r.name, err)
		}
		for i := range rr.Servers {
			rr.Servers[i].RSSPerItem = rss[i]
		}
		rr.oneLine(b.log)
		out = append(out, rr)
		time.Sleep(b.rest)
	}
	ours := servers[0]
	servers = servers[1:]
	if err := ours.Stop(); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Servers[0].GCShare = ours.GCShare()
	}
	return out, nil
}

func (b *bench) row(r row, servers []*rig.Server) (rowReport, error) {
	c := r.config(b.settings)
	samples, err := rig.Compare(servers, c, rig.Options{Repetitions: b.reps, Warm: b.warm, Time: b.time})
	if err != nil {
		return rowReport{}, err
	}
	rr := newRowReport(r, servers, samples)
	if !b.strace {
		return rr, nil
	}
	for i, s := range servers {
		if err := b.syscalls(&rr.Servers[i], s, c); err != nil {
			return rr, err
		}
	}
	return rr, nil
}

func (b *bench) syscalls(to *serverReport, s *rig.Server, c load.Config) error {
	n, calls, err := rig.SyscallsPerRequest(s, c, straceRequests*c.Depth)
	if errors.Is(err, rig.ErrNoStrace) {
		fmt.Fprintln(b.log, "#", err)
		b.strace = false
		return nil
	}
	to.SyscallsPerRequest, to.Syscalls = n, calls
	return err
}
