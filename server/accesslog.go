package server

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// AccessLog says what is logged about requests: a JSON object on a line for each,
// with the fields of Cilium's access log and some more (see accessEntry).
type AccessLog struct {
	File   string // "stderr", or a file that is appended to; empty: no log
	All    bool   // every request; else only those that the key rules refuse
	Sample int    // of the requests that are not refused one in so many; 0 is every one
	Rate   int    // lines a second, and at one time; 0 is 10,000, below 0 no limit
}

const (
	accessQueue   = 4096 // entries that wait to be written
	accessKeys    = 1024 // bytes of keys in an entry; the rest is counted
	accessResult  = 32   // bytes of the reply
	defaultAccess = 10_000
)

// accessEntry is one request before it is written. Entries are made once and go
// round: a loop takes one that is free, fills it in and queues it, the writer
// gives it back. A loop that finds none free counts the request as lost.
type accessEntry struct {
	at       time.Time
	denied   bool
	panicked string
	command  protocol.Command
	opcode   int16 // of the binary protocol; -1
	meta     bool
	peer     *mac.Peer
	identity string
	lacks    cnp.Mask
	rule     *cnp.Rule
	keys     []byte // each behind its length in a byte
	nkeys    int    // in the request
	reqBytes int    // of the value
	told     told
}

// accessLog is the log of a server. Only the writer's goroutine touches the file.
type accessLog struct {
	set     AccessLog
	log     *slog.Logger
	free    chan *accessEntry
	queue   chan *accessEntry
	lost    atomic.Uint64
	reopen  atomic.Bool
	poke    chan struct{}
	ended   chan struct{}
	counter atomic.Uint64 // for sampling
	closing sync.Once

	file *os.File // nil for stderr
	dest wholeLines
	out  *bufio.Writer // onto dest

	// What is in out: lines about requests, and how many others are told of there.
	lines, told uint64
	failing     bool
	complained  time.Time // when it was last said that the file cannot be written
}

// wholeLines ends a line that a failed write has left open before it goes on.
type wholeLines struct {
	w    io.Writer
	torn bool
}

func (l *wholeLines) Write(p []byte) (int, error) {
	if l.torn {
		if _, err := l.w.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		l.torn = false
	}
	n, err := l.w.Write(p)
	l.torn = err != nil && n > 0 && p[n-1] != '\n'
	return n, err
}

func openAccessLog(set *AccessLog, log *slog.Logger) (*accessLog, error) {
	a := &accessLog{
		set: *set, log: log,
		free: make(chan *accessEntry, accessQueue), queue: make(chan *accessEntry, accessQueue),
		poke: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if a.set.Rate == 0 {
		a.set.Rate = defaultAccess
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	for range accessQueue {
		a.free <- &accessEntry{keys: make([]byte, 0, accessKeys)}
	}
	go a.write()
	return a, nil
}

func (a *accessLog) open() error {
	var w io.Writer = os.Stderr
	if a.set.File != "stderr" {
		f, err := os.OpenFile(a.set.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if a.file != nil {
			_ = a.file.Close()
		}
		a.file, w = f, f
	}
	a.dest = wholeLines{w: w}
	a.out = bufio.NewWriterSize(&a.dest, 64<<10)
	return nil
}

// ReopenLogs makes the access log go on in a new file of its name, for whoever
// has moved the old one away. It may be called from any goroutine.
func (s *Server) ReopenLogs() {
	if a := s.access; a != nil {
		a.reopen.Store(true)
		select {
		case a.poke <- struct{}{}:
		default:
		}
	}
}

// close writes what is queued. No loop runs any more.
func (a *accessLog) close() {
	if a == nil {
		return
	}
	a.closing.Do(func() {
		close(a.queue)
		<-a.ended
	})
}

// take is a free entry for a request, nil if it is not to be logged or there is
// no room.
func (a *accessLog) take(denied bool) *accessEntry {
	if !denied {
		if !a.set.All || a.set.Sample > 1 && a.counter.Add(1)%uint64(a.set.Sample) != 0 {
			return nil
		}
	}
	select {
	case e := <-a.free:
		*e = accessEntry{keys: e.keys[:0], at: time.Now(), denied: denied, opcode: -1, told: told{status: -1}}
		return e
	default:
		a.lost.Add(1)
		return nil
	}
}

// write is the writer's goroutine.
func (a *accessLog) write() {
	defer close(a.ended)
	var line []byte
	var second int64
	var spent int
	var limited uint64
	tell := func() {
		if n := a.lost.Swap(0) + limited; n > 0 {
			limited = 0
			a.told += n
			fmt.Fprintf(a.out, "{\"suppressed\":%d}\n", n)
		}
	}
	for {
		var e *accessEntry
		ok := true
		select {
		case e, ok = <-a.queue:
		case <-a.poke:
		}
		if a.reopen.Swap(false) {
			a.flush()
			if err := a.open(); err != nil {
				a.log.Error("the access log goes on in the old file", "error", err)
			}
		}
		if e != nil {
			if now := e.at.Unix(); now != second {
				second, spent = now, 0
				tell()
			}
			if spent++; a.set.Rate > 0 && spent > a.set.Rate {
				limited++
			} else {
				line = e.append(line[:0])
				_, _ = a.out.Write(line)
				if a.lines++; a.out.Buffered() > 32<<10 {
					a.flush()
				}
			}
			e.peer, e.rule = nil, nil
			a.free <- e
		}
		if !ok {
			tell()
			a.flush()
			if a.file != nil {
				_ = a.file.Close()
			}
			return
		}
		if len(a.queue) == 0 {
			tell()
			a.flush()
		}
	}
}

// flush writes what is buffered. What cannot be written is counted, as what is
// suppressed, and told of when something can; that there is such a time is said when it begins,
// every minute, and when it ends.
func (a *accessLog) flush() {
	some := a.out.Buffered() > 0
	switch err := a.out.Flush(); {
	case err != nil:
		a.lost.Add(a.lines + a.told)
		a.out.Reset(&a.dest)
		if now := time.Now(); !a.failing || now.Sub(a.complained) >= time.Minute {
			a.failing, a.complained = true, now
			a.log.Error("access log: lines are lost, and counted", "error", err)
		}
	case a.failing && some:
		a.failing = false
		a.log.Info("access log: lines are written again")
	}
	a.lines, a.told = 0, 0
}
