package differ

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Protocols is a set of protocols.
type Protocols uint8

// The protocols. Classic and Meta speak over the same connection.
const (
	Classic Protocols = 1 << iota
	Meta
	Binary
	All = Classic | Meta | Binary
)

// Config is what Run needs. Both servers must be empty and used by nobody else.
type Config struct {
	// Ours and Theirs are TCP addresses of the two servers.
	Ours, Theirs string
	// Seed makes the commands, but for those about items that expire, which depend
	// on the time as well.
	Seed      uint64
	Protocols Protocols
	// Progress is told how far the run has got, after every batch. It may be nil.
	Progress func(Counts)
}

// Counts says what a run has compared.
type Counts struct {
	Commands, Batches    int
	Closes               int // batches that ended the connection, on both sides
	Lived, Expired       int // looks at items with a short time, before and after its end
	BytesSent, BytesRead int64
	Stats                int // comparisons of the general statistics
	Delayed              int // flushes with a delay
	// Slow are the batches that took so long that an item may have expired during
	// them; their replies are not compared, and both servers are emptied.
	Slow int
}

func (c Counts) String() string {
	return fmt.Sprintf("%d commands in %d batches, %d bytes sent, %d read; %d items seen before and %d after their end; %d connections ended; %d delayed flushes; statistics compared %d times; %d batches too slow",
		c.Commands, c.Batches, c.BytesSent, c.BytesRead, c.Lived, c.Expired, c.Closes, c.Delayed, c.Stats, c.Slow)
}

// A Difference is the error of two replies that are not the same.
type Difference struct {
	Batch  int
	Why    string
	Sent   string   // the commands, values cut
	Before []string // the batches before it
}

func (d *Difference) Error() string {
	return fmt.Sprintf("batch %d: %s\nsent\n%s\nbefore\n%s", d.Batch, d.Why, d.Sent, strings.Join(d.Before, "\n"))
}

// slowBatch is how long a batch may take when items expire within seconds.
const slowBatch = 1500 * time.Millisecond

// Batches between two comparisons of the statistics, and between two flushes,
// which bound what a difference can have come from.
const (
	statsEvery = 50
	flushEvery = 20_000
)

// run is the state of Run.
type run struct {
	cfg     Config
	rng     *rand.Rand
	sides   [2]*side
	gens    []generator
	keys    *keys
	counts  Counts
	due     time.Time // of the next delayed flush
	history []string  // the last few batches, for messages
}

// A generator makes the commands of one protocol.
type generator interface {
	// batch appends a batch to b.
	batch(b *batch)
	// binary says which connection it is for.
	binary() bool
}

// batch is some commands, for each server.
type batch struct {
	wire     [2]strings.Builder
	commands int
	closes   bool              // the last one ends the connection
	about    map[uint32]string // binary: the key of the frame with an opaque
	looks    []look            // at items that expire
}

// put adds a command, the same for both servers.
func (b *batch) put(s string) { b.put2(s, s) }

func (b *batch) put2(ours, theirs string) {
	b.wire[0].WriteString(ours)
	b.wire[1].WriteString(theirs)
	b.commands++
}

// Run compares until ctx ends, which is no error. A *Difference is the first one
// found.
func Run(ctx context.Context, cfg Config) (Counts, error) {
	r := &run{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6d63))}
	r.keys = newKeys(r.rng)
	r.due = time.Now().Add(delayedFirst)
	for i, addr := range []string{cfg.Ours, cfg.Theirs} {
		s, err := dialSide(addr)
		if err != nil {
			return r.counts, err
		}
		r.sides[i] = s
		defer s.close()
	}
	for _, g := range []struct {
		p Protocols
		g generator
	}{{Classic, &classic{r.keys}}, {Meta, &meta{r.keys}}, {Binary, &frames{keys: r.keys}}} {
		if cfg.Protocols&g.p != 0 {
			r.gens = append(r.gens, g.g)
		}
	}
	if len(r.gens) == 0 {
		return r.counts, fmt.Errorf("differ: no protocol to compare")
	}
	for ctx.Err() == nil {
		if err := r.turn(); err != nil {
			return r.counts, err
		}
		if cfg.Progress != nil {
			cfg.Progress(r.counts)
		}
	}
	return r.counts, r.compareStats()
}

// turn is one batch, and what is due before it.
func (r *run) turn() error {
	if r.counts.Batches%flushEvery == 0 {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if r.counts.Batches%statsEvery == statsEvery-1 {
		if err := r.compareStats(); err != nil {
			return err
		}
	}
	if r.due.Before(time.Now()) && r.cfg.Protocols&Classic != 0 {
		r.due = time.Now().Add(delayedEvery)
		if err := r.delayed(); err != nil {
			return err
		}
	}
	g := r.gens[r.rng.IntN(len(r.gens))]
	b := &batch{about: map[uint32]string{}}
	g.batch(b)
	return r.compare(b, g.binary())
}

// compare sends a batch to both servers and compares what they answer.
func (r *run) compare(b *batch, bin bool) error {
	start := time.Now()
	cuts := r.cuts(b.wire[0].Len())
	var replies [2]*reply
	done := make(chan error, 1)
	go func() {
		var err error
		replies[1], err = r.sides[1].exchange(b, 1, bin, cuts)
		done <- err
	}()
	var err error
	replies[0], err = r.sides[0].exchange(b, 0, bin, cuts)
	if err2 := <-done; err == nil {
		err = err2
	}
	r.counts.Batches++
	r.counts.Commands += b.commands
	r.counts.BytesSent += int64(b.wire[0].Len())
	if err != nil {
		return fmt.Errorf("batch %d: %w\nsent %s\nbefore:\n%s", r.counts.Batches, err, excerpt(b.wire[0].String()), strings.Join(r.history, "\n"))
	}
	r.counts.BytesRead += int64(replies[0].size)
	if b.closes {
		r.counts.Closes++
	}
	took := time.Since(start)
	if took > slowBatch {
		r.counts.Slow++
		return r.flush()
	}
	r.note(b)
	why := replies[0].compare(replies[1])
	if why == "" {
		why = r.keys.learn(b, replies)
	}
	if why != "" {
		last := len(r.history) - 1
		return &Difference{Batch: r.counts.Batches, Why: why, Sent: r.history[last], Before: r.history[:last]}
	}
	for _, l := range b.looks {
		if l.alive {
			r.counts.Lived++
		} else {
			r.counts.Expired++
		}
	}
	return nil
}

// note keeps the last few batches for the message of a difference.
func (r *run) note(b *batch) {
	if len(r.history) == 6 {
		r.history = append(r.history[:0], r.history[1:]...)
	}
	r.history = append(r.history, excerpt(b.wire[0].String()))
}

// cuts says where n bytes are cut: not at all, at a few places, or everywhere.
func (r *run) cuts(n int) (at []int) {
	switch k := r.rng.IntN(10); {
	case k < 4:
	case k < 8:
		for p := 0; p < n; {
			p += 1 + r.rng.IntN(n)
			at = append(at, p)
		}
	case n < 1500:
		for p := 0; p < n; {
			p += 1 + r.rng.IntN(6)
			at = append(at, p)
		}
	}
	return at
}

// flush empties both servers. What was stored in the second of a flush is gone
// with it, and what comes after it stays.
func (r *run) flush() error {
	r.keys.forget()
	for _, s := range r.sides {
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

// comparedStats are the general statistics that two servers which were asked the
// same must agree on. Not among them are those that depend on what memcached's
// background threads have got to first: get_flushed, get_expired, total_items.
var comparedStats = []string{
	"cmd_get", "cmd_set", "cmd_flush", "cmd_touch", "cmd_meta", "get_hits", "get_misses", "delete_misses", "delete_hits",
	"incr_misses", "incr_hits", "decr_misses", "decr_hits", "cas_misses", "cas_hits", "cas_badval", "touch_hits", "touch_misses",
	"store_too_large", "store_no_memory", "auth_cmds", "auth_errors",
}

func (r *run) compareStats() error {
	var stats [2]map[string]string
	for i, s := range r.sides {
		var err error
		if stats[i], err = s.stats(); err != nil {
			return err
		}
	}
	r.counts.Stats++
	for _, name := range comparedStats {
		if a, b := stats[0][name], stats[1][name]; a != b {
			return fmt.Errorf("differ: after batch %d: stats: %s is %s, memcached has %s\nbefore:\n%s", r.counts.Batches, name, a, b, strings.Join(r.history, "\n"))
		}
	}
	return nil
}
