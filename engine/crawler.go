package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"sememcached/storage"
)

// Crawler unlinks expired and flushed items that nobody asks for, as memcached's
// lru_crawler does: a pass over the whole store now and then, and when it is
// told to. It is off until Start.
type Crawler struct {
	eng     *Secured
	every   time.Duration // between passes
	pause   atomic.Int64  // between steps of at most 256 items, in microseconds
	running atomic.Bool   // a pass that takes a while is under way
	starts  atomic.Uint64
	// passed is told of every pass that ends; set before Start.
	passed func(CrawlPass)
	last   time.Time // when the pass before this one began; the goroutine's

	mu sync.Mutex
	// +checklocks:mu
	stop chan struct{} // nil: off
	kick chan struct{}
	wait sync.WaitGroup // for passes to end
}

// CrawlPass is what a pass over the whole store came to.
type CrawlPass struct {
	SinceRun, NextRun, Elapsed time.Duration
	Examined, Reclaimed        uint64
}

// OnPass makes fn be told of every pass that ends, on the crawler's goroutine. It is
// called before Start.
func (c *Crawler) OnPass(fn func(CrawlPass)) { c.passed = fn }

// crawlEvery is the time between two passes that nobody asked for.
const crawlEvery = time.Minute

// NewCrawler returns a crawler over the engine's store.
func (e *Secured) NewCrawler() *Crawler {
	c := &Crawler{eng: e, every: crawlEvery, kick: make(chan struct{}, 1)}
	c.pause.Store(100)
	return c
}

// Start turns the crawler on. It reports false if it is on already.
func (c *Crawler) Start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return false
	}
	stop := make(chan struct{})
	c.stop = stop
	c.wait.Go(func() { c.run(stop) })
	return true
}

// Stop turns the crawler off; a pass that is under way ends soon after.
func (c *Crawler) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
}

// Close turns the crawler off and returns when it does not look at the store any
// more. It is not started again.
func (c *Crawler) Close() {
	c.Stop()
	c.wait.Wait()
}

// On says whether the crawler is on.
func (c *Crawler) On() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop != nil
}

// Kick asks for a pass now. It reports false if one is under way.
func (c *Crawler) Kick() bool {
	if c.running.Load() {
		return false
	}
	select {
	case c.kick <- struct{}{}:
	default: // one is about to begin
	}
	return true
}

// SetPause sets how long the crawler rests between two steps, in microseconds.
func (c *Crawler) SetPause(us uint32) { c.pause.Store(int64(us)) }

// Running says whether a pass is under way; Starts how many there were.
func (c *Crawler) Running() bool { return c.running.Load() }

// Starts is explained at Running.
func (c *Crawler) Starts() uint64 { return c.starts.Load() }

func (c *Crawler) run(stop chan struct{}) {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		case <-c.kick:
		}
		c.pass(stop)
	}
}

func (c *Crawler) pass(stop chan struct{}) {
	defer c.running.Store(false)
	c.starts.Add(1)
	var at storage.Crawl
	begin := time.Now()
	sum := CrawlPass{NextRun: c.every}
	if !c.last.IsZero() {
		sum.SinceRun = begin.Sub(c.last)
	}
	c.last = begin
	for {
		checked, reclaimed, more := c.eng.store.CrawlStep(&at, c.eng.Clock())
		sum.Examined += uint64(checked)
		sum.Reclaimed += uint64(reclaimed)
		if !more {
			if sum.Elapsed = time.Since(begin); c.passed != nil {
				c.passed(sum)
			}
			return
		}
		if checked == 0 {
			select {
			case <-stop:
				return
			default:
			}
			continue
		}
		c.running.Store(true)
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(c.pause.Load()) * time.Microsecond):
		}
	}
}
