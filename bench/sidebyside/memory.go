package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// memorySizes are the value sizes whose cost in memory is compared.
var memorySizes = []int{32, 100, 1 << 10}

// memoryReport is the resident memory of a server after a number of items has
// been stored, in the order of their keys, per item.
type memoryReport struct {
	Keys      int       `json:"keys"`
	ValueSize int       `json:"value_size"`
	Servers   []string  `json:"servers"` // ours first
	Bytes     []float64 `json:"bytes_per_item"`
}

// memory measures every size with every number of keys in the list.
func (b *bench) memory(list string) ([]memoryReport, error) {
	var out []memoryReport
	if list == "" {
		return nil, nil
	}
	for _, w := range strings.Split(list, ",") {
		keys, err := strconv.Atoi(w)
		if err != nil || keys < 1 {
			return nil, fmt.Errorf("-memory: expected numbers of keys, found %q", w)
		}
		for _, size := range memorySizes {
			m := memoryReport{Keys: keys, ValueSize: size}
			for _, k := range b.kinds {
				if k.Ceiling {
					continue
				}
				n, err := b.resident(k, keys, size)
				if err != nil {
					return nil, err
				}
				m.Servers = append(m.Servers, k.Name)
				m.Bytes = append(m.Bytes, n/float64(keys))
			}
			fmt.Fprintf(b.log, "# %d values of %d bytes: %v take %.0f bytes each\n", keys, size, m.Servers, m.Bytes)
			out = append(out, m)
		}
	}
	return out, nil
}

// resident is the memory of a server that has been filled.
func (b *bench) resident(k rig.Kind, keys, size int) (n float64, err error) {
	s, err := rig.Start(k, rig.Place{Threads: b.threads, MemoryMB: rig.MemoryFor(keys, size)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := rig.Fill(s, load.Config{Keys: keys, ValueSize: size, Seed: 1}); err != nil {
		return 0, err
	}
	rss, err := rig.RSS(s.PID)
	return float64(rss), err
}

// memoryTable is the report for people.
func (r *report) memoryTable(b *bytes.Buffer) {
	if len(r.Memory) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Memory\n\nResident bytes per item after a fill, everything included; the keys have %d bytes.\n\n| items | value |", load.KeyLength)
	for _, name := range r.Memory[0].Servers {
		fmt.Fprintf(b, " %s |", name)
	}
	fmt.Fprintf(b, " ours / %s |\n|---|---|%s---|\n", r.Memory[0].Servers[1], strings.Repeat("---|", len(r.Memory[0].Servers)))
	for _, m := range r.Memory {
		fmt.Fprintf(b, "| %d | %d |", m.Keys, m.ValueSize)
		for _, n := range m.Bytes {
			fmt.Fprintf(b, " %.0f |", n)
		}
		fmt.Fprintf(b, " %.2f |\n", m.Bytes[0]/m.Bytes[1])
	}
}
