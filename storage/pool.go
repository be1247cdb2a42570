package storage

import (
	"slices"
	"sync"
	"sync/atomic"
)

// pool hands out pages and runs, and counts what is mapped for items.
//
// Pages lie in [0, pageArea) of the arena, runs in [pageArea, end). Memory that is
// handed back stays mapped and is reused first; it goes back to the system
// when the limit is reached and the other kind is wanted.
type pool struct {
	a        *arena
	pageArea int64        // bytes
	small    bool         // there are no huge pages: nothing is got ready, pages take memory as they are filled
	excess   atomic.Int64 // bytes by which the limit is exceeded, 0 if it is not
	waste    atomic.Int32 // len(cooling) + len(coolRuns): memory to give back when no shard is locked
	scarce   atomic.Bool  // three quarters of the limit are mapped

	helpers sync.WaitGroup

	mu        sync.Mutex
	limit     int64    // bytes that may be mapped
	mapped    int64    // bytes of pages and runs, in use or idle
	fresh     uint32   // pages from here on were never used; page 0 never is
	usable    uint32   // pages from here on are not ready
	reached   uint32   // pages from here on may not be touched
	readying  bool     // a helper maps those that follow
	idle      []uint32 // unused pages that are still mapped
	cold      []uint32 // unused pages whose memory went back
	cooling   []uint32 // unused pages whose memory is going back, and not counted
	inUse     int      // pages owned by classes
	committed int64    // end of the writable part of the run area

	// Free parts of the run area, in grains, in order of address. The last one
	// reaches to the end of the area.
	holes []extent
	// Freed runs that are still mapped, the last freed last.
	warm     []extent
	coolRuns []extent // unused runs whose memory is going back, and not counted
	runBytes int64    // bytes of runs in use
}

// extent is a part of the run area, in grains.
type extent struct{ at, n uint32 }

// commitStep is how many bytes are made writable at once.
const commitStep = 64 << 20

// maxWarm bounds the runs that stay mapped for reuse.
const maxWarm = 16

// takePage returns the number of a page for a class. It may exceed the limit if all pages
// of classes are no more than the limit and over bytes. ok is false if there is none.
func (p *pool) takePage(over int64) (page uint32, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		page = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.inUse++
		return page, true
	}
	if !p.fits(pageSize) && (over == 0 || int64(p.inUse+1)*pageSize > p.limit+over) {
		return 0, false
	}
	switch n, c := len(p.cold), len(p.cooling); {
	case c > 0:
		page = p.cooling[c-1]
		p.cooling = p.cooling[:c-1]
		p.noteWaste()
	case n > 0:
		page = p.cold[n-1]
		p.cold = p.cold[:n-1]
	case int64(p.fresh+1)*pageSize <= p.pageArea:
		page = p.fresh
		if page >= p.reached && !p.reach() {
			return 0, false
		}
		if page >= p.usable {
			p.usable = page + hugePages
		}
		p.fresh++
		p.readyNext()
	default:
		return 0, false
	}
	p.count(pageSize)
	p.inUse++
	return page, true
}

// hugePage returns the memory of the pages that begin with page lo and share a huge page, as
// far as there are any.
func (p *pool) hugePage(lo uint32) []byte {
	return p.a.mem[int64(lo)*pageSize : min(int64(lo+hugePages)*pageSize, p.pageArea)]
}

// used returns the number of the first page that was never used.
func (p *pool) used() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh
}

// reach makes more pages ones that may be touched, in small pages of the system until readyNext
// wants something else. It waits for page faults of others.
func (p *pool) reach() bool {
	from := int64(max(p.reached, 1)) * pageSize
	mem := p.a.mem[from:min(from+commitStep, p.pageArea)]
	if commit(mem) != nil {
		return false
	}
	refuseHugePages(mem)
	p.reached = uint32((from + int64(len(mem))) / pageSize)
	return true
}

// readyNext makes another goroutine get the next huge page from the system: to clear 2 MiB takes
// longer than a lock may be held. Who comes before it is ready takes small pages.
func (p *pool) readyNext() {
	lo := p.usable
	if p.small || p.readying || p.fresh+1 < lo || int64(lo+hugePages)*pageSize > p.pageArea || p.mapped+pageSize+hugePage > p.limit {
		return
	}
	p.readying = true
	given := func(n uint32) bool { return slices.Contains(p.cold, n) || slices.Contains(p.cooling, n) }
	before := lo > hugePages && !given(lo-2) && !given(lo-1)
	p.helpers.Go(func() {
		if before {
			wantHugePages(p.hugePage(lo - hugePages)) // it was refused if it was not ready in time
			populate(p.hugePage(lo - hugePages))
		}
		p.mu.Lock()
		ok := lo+hugePages <= p.reached || p.reach()
		p.mu.Unlock()
		if ok {
			wantHugePages(p.hugePage(lo))
			populate(p.hugePage(lo))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.readying = false
		if ok {
			p.usable = max(p.usable, lo+hugePages)
		}
	})
}

// page returns the memory of a page.
func (p *pool) page(n uint32) []byte {
	return p.a.mem[int64(n)*pageSize : int64(n+1)*pageSize]
}

// fits reports whether n more bytes are within the limit, giving back idle memory
// if that helps.
func (p *pool) fits(n int64) bool {
	for p.mapped+n > p.limit && len(p.warm) > 0 {
		p.dropWarm(0)
	}
	for p.mapped+n > p.limit && len(p.idle) > 0 {
		last := len(p.idle) - 1
		p.dropPage(p.idle[last])
		p.idle = p.idle[:last]
	}
	return p.mapped+n <= p.limit
}

// dropPage counts a page as given back; trim gives it back, since that takes a system call
// that may interrupt other processors.
func (p *pool) dropPage(n uint32) {
	p.cooling = append(p.cooling, n)
	p.noteWaste()
	p.count(-pageSize)
}

func (p *pool) noteWaste() { p.waste.Store(int32(len(p.cooling) + len(p.coolRuns))) }

// trim gives the memory of one page or run back to the system. No shard may be locked.
//
// What is discarded is in no list meanwhile, so that nobody takes it. A page that is used again is
// touched first under a lock: it is taken from the system in small pages then, because to clear a huge one
// takes half a millisecond.
func (p *pool) trim() {
	p.mu.Lock()
	if last := len(p.coolRuns) - 1; last >= 0 {
		e := p.coolRuns[last]
		p.coolRuns = p.coolRuns[:last]
		p.noteWaste()
		p.mu.Unlock()
		discard(p.run(e))
		p.mu.Lock()
		p.addHole(e)
		p.mu.Unlock()
		return
	}
	last := len(p.cooling) - 1
	if last < 0 {
		p.mu.Unlock()
		return
	}
	n := p.cooling[last]
	p.cooling = p.cooling[:last]
	p.noteWaste()
	p.mu.Unlock()
	refuseHugePages(p.page(n))
	discard(p.page(n))
	p.mu.Lock()
	p.cold = append(p.cold, n)
	p.mu.Unlock()
}

// givePage takes back a page that no chunk uses.
func (p *pool) givePage(n uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse--
	if p.mapped > p.limit {
		p.dropPage(n)
		return
	}
	p.idle = append(p.idle, n)
}

// count changes the count of mapped bytes.
func (p *pool) count(n int64) {
	p.mapped += n
	p.excess.Store(max(0, p.mapped-p.limit))
	p.scarce.Store(p.mapped > p.limit/4*3)
}

// runGrains is the number of grains that hold size bytes.
func runGrains(size int) uint32 { return uint32((size + grain - 1) / grain) }

// takeRun returns a run that holds size bytes, 0 if there is none. It may exceed
// the limit if all runs are no more than over bytes.
func (p *pool) takeRun(size int, over int64) (ref uint32) {
	n := runGrains(size)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.warm) - 1; i >= 0; i-- {
		if p.warm[i].n == n {
			at := p.warm[i].at
			p.warm = slices.Delete(p.warm, i, i+1)
			p.runBytes += int64(n) * grain
			return p.runRef(at)
		}
	}
	if !p.fits(int64(n)*grain) && p.runBytes+int64(n)*grain > over {
		return 0
	}
	for {
		for i := range p.holes {
			e := &p.holes[i]
			if e.n < n {
				continue
			}
			at := e.at
			if end := p.pageArea + int64(at+n)*grain; end > p.committed {
				// A step ahead: the call waits for page faults of others.
				ahead := min(end+commitStep, int64(len(p.a.mem)))
				if commit(p.a.mem[p.committed:ahead]) != nil {
					return 0
				}
				p.committed = ahead
			}
			e.at += n
			e.n -= n
			if e.n == 0 {
				p.holes = slices.Delete(p.holes, i, i+1)
			}
			p.count(int64(n) * grain)
			p.runBytes += int64(n) * grain
			return p.runRef(at)
		}
		switch c := len(p.coolRuns); {
		case len(p.warm) > 0:
			p.dropWarm(0)
		case c > 0: // addresses are short: not to be had without a system call
			e := p.coolRuns[c-1]
			p.coolRuns = p.coolRuns[:c-1]
			p.noteWaste()
			discard(p.run(e))
			p.addHole(e)
		default:
			return 0
		}
	}
}

// run returns the memory of a run.
func (p *pool) run(e extent) []byte {
	at := p.pageArea + int64(e.at)*grain
	return p.a.mem[at : at+int64(e.n)*grain]
}

// short reports whether classes should share pages rather than take new ones.
func (p *pool) short() bool { return p.scarce.Load() }

// noRuns reports whether no run is in use.
func (p *pool) noRuns() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runBytes == 0
}

func (p *pool) runRef(at uint32) uint32 { return p.a.ref(p.pageArea + int64(at)*grain) }

// giveRun takes back a run that held size bytes.
func (p *pool) giveRun(ref uint32, size int) {
	e := extent{uint32((p.a.offset(ref) - p.pageArea) / grain), runGrains(size)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runBytes -= int64(e.n) * grain
	p.warm = append(p.warm, e)
	if p.mapped > p.limit || len(p.warm) > maxWarm {
		p.dropWarm(0)
	}
}

// dropWarm counts warm[i] as given back; trim gives it back and makes it a hole.
func (p *pool) dropWarm(i int) {
	e := p.warm[i]
	p.warm = slices.Delete(p.warm, i, i+1)
	p.coolRuns = append(p.coolRuns, e)
	p.noteWaste()
	p.count(-int64(e.n) * grain)
}

// addHole makes a run free for anybody.
func (p *pool) addHole(e extent) {
	j, _ := slices.BinarySearchFunc(p.holes, e.at, func(h extent, at uint32) int {
		return int(int64(h.at) - int64(at))
	})
	if j > 0 && p.holes[j-1].at+p.holes[j-1].n == e.at {
		p.holes[j-1].n += e.n
		if j < len(p.holes) && e.at+e.n == p.holes[j].at {
			p.holes[j-1].n += p.holes[j].n
			p.holes = slices.Delete(p.holes, j, j+1)
		}
		return
	}
	if j < len(p.holes) && e.at+e.n == p.holes[j].at {
		p.holes[j] = extent{e.at, e.n + p.holes[j].n}
		return
	}
	p.holes = slices.Insert(p.holes, j, e)
}
