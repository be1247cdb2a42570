package crashing

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// PowerReport is what was seen.
type PowerReport struct {
	Deeds, Commands, Syncs int
	Images                 int // states of the disk that were looked at
	Torn                   int // of them, with pages that consist of old and new sectors
	Written                int // of them, written to afterwards
	Served                 int // of them, served by a server
	Absent                 int // of them, without the file
}

// Power records what a server does to its disk, and looks at states in which the
// disk may be if the power fails at any moment of that. The error says what was
// wrong, first of all.
func Power(cfg PowerConfig) (r PowerReport, err error) {
	p, err := newPower(cfg)
	if err != nil {
		return r, err
	}
	if err := p.record(); err != nil {
		return r, err
	}
	return p.replay(p.trace.deeds)
}

// cut is the search for a state of the disk that should not be.
type cut struct {
	*power
	rng      *rand.Rand
	report   PowerReport
	disk     *simDisk
	canvases map[int]*canvas
	most     int // images of each moment

	acked   []int       // answers of each connection, so far
	commit  []int       // the same when the last commit had ended
	durable []int       // what has to be remembered
	named   map[int]int // warm: answers in all when the file got its name
}

// replay goes through the deeds, and before each sync, and at the end, through what
// the disk may hold then: what was pending earlier is among that.
func (p *power) replay(deeds []deed) (PowerReport, error) {
	c := &cut{
		power: p, rng: rand.New(rand.NewPCG(p.Seed, 5)), disk: newSimDisk(), canvases: map[int]*canvas{},
		acked: make([]int, p.conns), commit: make([]int, p.conns), durable: make([]int, p.conns), named: map[int]int{},
	}
	defer func() {
		for _, v := range c.canvases {
			v.close()
		}
	}()
	c.report.Deeds = len(deeds)
	for i := range deeds {
		if k := deeds[i].kind; k == deedSync || k == deedSyncDir {
			c.report.Syncs++
		}
	}
	c.most = max(3, p.Images/(c.report.Syncs+1))
	for i := range deeds {
		if err := c.deed(&deeds[i]); err != nil {
			return c.report, fmt.Errorf("deed %d of %d (mode %s, seed %d): %w", i, len(deeds), p.Mode, p.Seed, err)
		}
	}
	if err := c.fails(); err != nil {
		return c.report, fmt.Errorf("at the end (mode %s, seed %d): %w", p.Mode, p.Seed, err)
	}
	return c.report, nil
}

func (c *cut) deed(x *deed) error {
	switch x.kind {
	case deedAnswer:
		c.acked[x.conn]++
		c.report.Commands++
		if c.Mode == "always" {
			c.durable[x.conn]++
		}
		return nil
	case deedStop:
		copy(c.durable, c.acked)
		return c.fails()
	case deedLink, deedRename:
		if x.to == powerFile {
			c.named[c.disk.named(len(c.disk.changes))[x.name]] = sum(c.acked)
		}
	case deedSync:
		if err := c.fails(); err != nil {
			return err
		}
		f := c.disk.files[x.file]
		if len(f.pending[0])+len(f.pending[1]) > 0 { // a commit ends
			if c.Mode == "interval" {
				copy(c.durable, c.commit)
			}
			copy(c.commit, c.acked)
		}
		if v := c.canvases[x.file]; v != nil {
			if err := v.sync(); err != nil {
				return err
			}
		}
	case deedSyncDir:
		if err := c.fails(); err != nil {
			return err
		}
	}
	return c.disk.apply(x)
}

func sum(ns []int) (n int) {
	for _, x := range ns {
		n += x
	}
	return n
}

// fails lets the power fail now.
func (c *cut) fails() error {
	seen := map[int]bool{}
	for n := range len(c.disk.changes) + 1 {
		file, there := c.disk.named(n)[powerFile]
		if !there {
			c.report.Absent++
			if err := c.absent(); err != nil {
				return err
			}
			continue
		}
		if seen[file] {
			continue
		}
		seen[file] = true
		v := c.canvases[file]
		if v == nil {
			var err error
			if v, err = newCanvas(filepath.Join(c.Dir, fmt.Sprintf("canvas%d", file)), c.disk.files[file]); err != nil {
				return err
			}
			c.canvases[file] = v
		}
		if err := c.disk.files[file].images(c.most, c.rng, func(m *image) error { return c.look(v, file, m) }); err != nil {
			return err
		}
	}
	return nil
}

// absent judges a disk without the file.
func (c *cut) absent() error {
	if c.Mode == "warm" {
		return nil // a crash leaves nothing
	}
	if n := sum(c.durable); n > 0 {
		return fmt.Errorf("the file is not there, and %d answers have to be remembered", n)
	}
	return nil
}

// look judges one state of the file.
func (c *cut) look(v *canvas, file int, m *image) error {
	if err := v.paint(m); err != nil {
		return err
	}
	c.report.Images++
	if m.torn {
		c.report.Torn++
	}
	err := c.holds(v.path, file)
	if err == nil && c.report.Images%10 == 0 {
		c.report.Written++
		err = c.goesOn(v, m, file)
	}
	if err == nil && c.Serve > 0 && c.report.Images%c.Serve == 0 {
		c.report.Served++
		err = c.serves(v, m, file)
	}
	if err != nil {
		keep := filepath.Join(c.Dir, "failed")
		return errors.Join(fmt.Errorf("%w; the file is %s", err, keep), v.copyTo(keep, m))
	}
	if c.Log != nil && c.report.Images%5000 == 0 {
		fmt.Fprintf(c.Log, "%s power, %s: %+v\n", time.Now().UTC().Format("15:04:05"), c.Mode, c.report)
	}
	return v.clean(m)
}

// judge compares what a file holds with what was answered.
func (c *cut) judge(found map[string]state, file int) error {
	durable := c.durable
	if c.Mode == "warm" {
		if n := sum(c.acked); n != c.named[file] {
			return fmt.Errorf("the file has come back, and %d commands have been answered since", n-c.named[file])
		}
		durable = c.acked
	}
	left := len(found)
	for _, k := range c.keys {
		s, ok := found[k.key]
		if ok {
			left--
		}
		if err := k.judge(&s, durable); err != nil {
			return err
		}
	}
	if left != 0 {
		return fmt.Errorf("%d keys that were never used: %.200q", left, slices.Sorted(maps.Keys(found)))
	}
	return nil
}

// canvas is a file that shows one image after the other.
type canvas struct {
	path string
	f    *os.File
	sim  *simFile
}

func newCanvas(path string, sim *simFile) (*canvas, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	v := &canvas{path, f, sim}
	for id, b := range sim.pages {
		if err := v.put(id, b); err != nil {
			return nil, err
		}
	}
	return v, f.Truncate(sim.size)
}

func (v *canvas) put(id int64, b []byte) error {
	_, err := v.f.WriteAt(b, id*pageSize)
	return err
}

// sync is called before a sync of the file.
func (v *canvas) sync() error {
	if err := v.f.Truncate(v.sim.length()); err != nil {
		return err
	}
	for id, contents := range v.sim.pending {
		if err := v.put(id, contents[len(contents)-1]); err != nil {
			return err
		}
	}
	return nil
}

func (v *canvas) paint(m *image) error {
	if err := v.f.Truncate(m.size); err != nil {
		return err
	}
	for id, b := range m.pages {
		if err := v.put(id, b); err != nil {
			return err
		}
	}
	return nil
}

// clean makes the canvas as the last sync has made the file.
func (v *canvas) clean(m *image) error {
	for id := range m.pages {
		b := v.sim.pages[id]
		if b == nil {
			b = emptyPage[:]
		}
		if err := v.put(id, b); err != nil {
			return err
		}
	}
	return v.f.Truncate(v.sim.size)
}

// copyTo makes a file that is the image.
func (v *canvas) copyTo(path string, m *image) error {
	sim := &simFile{pages: maps.Clone(v.sim.pages), size: m.size}
	maps.Copy(sim.pages, m.pages)
	c, err := newCanvas(path, sim)
	if err != nil {
		return err
	}
	return c.f.Close()
}

func (v *canvas) close() { _ = errors.Join(v.f.Close(), os.Remove(v.path)) }
