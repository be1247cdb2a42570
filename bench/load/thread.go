package load

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// recvSize holds many replies of any depth, and a large value in few pieces.
const recvSize = 256 << 10

// thread runs a part of the connections. Its fields belong to the goroutine that
// runs it, and between runs to the Generator.
type thread struct {
	cfg    *Config
	cpu    int // -1: not pinned
	ep     int
	events []unix.EpollEvent
	conns  []*conn
	idle   []*conn // open loop: a queue
	src    source
	values *values

	setsOf, mixOf int
	setTail       string // of a set's first line, after the key
	headTail      string // of a VALUE line, after the key
	headLen       int
	bodyTail      string // what ends a value
	storedLine    []byte // of consumeBare: what answers a set,
	missLine      []byte // and a get of a key that is absent

	in, out, scratch []byte
	timeout          unix.Timespec
	res              Result
	err              error
}

func newThread(cfg *Config, cpu int, v *values, src source) (*thread, error) {
	t := &thread{
		cfg: cfg, cpu: cpu, values: v, src: src,
		events:   make([]unix.EpollEvent, 256),
		setsOf:   cfg.Sets,
		mixOf:    cfg.Sets + cfg.Gets,
		setTail:  fmt.Sprintf(" 0 0 %d\r\n", cfg.ValueSize),
		headTail: fmt.Sprintf(" 0 %d\r\n", cfg.ValueSize),
		bodyTail: "\r\n",
		in:       make([]byte, recvSize),
	}
	t.headLen = len(replyValue) + keyDigits + len(t.headTail)
	switch cfg.Protocol {
	case Meta:
		t.setTail = fmt.Sprintf(" %d\r\n", cfg.ValueSize)
		t.headTail = fmt.Sprintf("VA %d\r\n", cfg.ValueSize)
		t.storedLine, t.missLine = replyHD, replyEN
		t.headLen = len(t.headTail)
	case Binary:
		t.bodyTail = ""
	case Redis:
		t.setTail = fmt.Sprintf("\r\n$%d\r\n", cfg.ValueSize)
		t.headTail = fmt.Sprintf("$%d\r\n", cfg.ValueSize)
		t.storedLine, t.missLine = redisOK, redisNone
		t.headLen = len(t.headTail)
	}
	perSet := max(binaryHeader+8, len(redisSet)) + keyLen + len(t.setTail) + cfg.ValueSize + 2
	perGet := max(binaryHeader, len(redisGet)+2) + cfg.MultiGet*(keyLen+1)
	t.out = make([]byte, 0, max(perSet*max(cfg.Depth, fillDepth), perGet*cfg.Depth))
	if cfg.Verify {
		t.scratch = make([]byte, 0, cfg.ValueSize+2)
	}
	var err error
	t.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return t, err
}

// add takes over a connected socket.
func (t *thread) add(fd int) error {
	depth := max(t.cfg.Depth, fillDepth)
	c := &conn{fd: fd, slot: int32(len(t.conns)), sets: make([]bool, depth), left: make([]byte, 0, leftMax)}
	if t.cfg.Verify {
		c.keys = make([]uint32, 0, depth*t.cfg.MultiGet)
	}
	t.conns = append(t.conns, c)
	t.idle = append(t.idle, nil)
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.slot}
	return unix.EpollCtl(t.ep, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (t *thread) watch(c *conn, mask uint32) {
	ev := unix.EpollEvent{Events: mask, Fd: c.slot}
	if err := unix.EpollCtl(t.ep, unix.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		t.fail("epoll_ctl: %v", err)
	}
}

// fail ends the run: what comes after it could not be trusted.
func (t *thread) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("load: "+format, args...)
	}
}

func (t *thread) close() {
	for _, c := range t.conns {
		unix.Close(c.fd)
	}
	unix.Close(t.ep)
}

var clockBase = time.Now()

// clock is monotonic, in nanoseconds.
func clock() int64 { return int64(time.Since(clockBase)) }

// limits say when a run ends: at either of them; zero is no limit.
type limits struct {
	duration time.Duration
	requests uint64
	rate     float64 // of this thread; 0: closed loop
}

// run runs the load until a limit, or until a fill has nothing left, and then
// waits for what is still unanswered. It leaves what was measured in res.
func (t *thread) run(lim limits) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if t.cpu >= 0 {
		defer t.pin()()
	}
	if t.cfg.RealTime {
		defer t.realTime()()
	}
	t.res, t.err = Result{}, nil
	cpu := threadCPU()
	begin := clock()
	r := running{begin: begin, deadline: math.MaxInt64, requests: lim.requests}
	if lim.duration > 0 {
		r.deadline = begin + int64(lim.duration)
	}
	if r.requests == 0 {
		r.requests = math.MaxUint64
	}
	if lim.rate > 0 {
		r.interval = int64(1e9 / lim.rate)
		r.due = begin
	}
	for i, c := range t.conns {
		if r.interval > 0 {
			t.idle[i] = c
			r.idle++
		} else if t.issue(c, clock()) {
			r.busy++
		}
	}
	for t.err == nil && !r.over() {
		t.turn(&r)
	}
	t.res.Elapsed = time.Duration(clock() - begin)
	t.res.CPU = threadCPU() - cpu
	measured := t.res
	r.stopped = true
	giveUp := clock() + int64(5*time.Second)
	for t.err == nil && r.busy > 0 {
		if t.turn(&r); clock() > giveUp {
			t.fail("%d connections have not been answered for 5 s", r.busy)
		}
	}
	t.res = measured
}

// running is the state of a run.
type running struct {
	begin, deadline int64
	requests        uint64
	busy            int // connections with something unanswered
	idle, first     int // open loop: length and start of the queue
	interval, due   int64
	now             int64
	stopped, full   bool // nothing is sent any more; the requests are through
}

func (r *running) over() bool {
	return r.now >= r.deadline || r.full || r.interval == 0 && r.busy == 0
}

// turn sends what is due, and waits for events once.
func (t *thread) turn(r *running) {
	wait := int64(100 * time.Millisecond)
	if r.interval > 0 && !r.stopped {
		r.now = clock()
		for r.idle > 0 && r.due <= r.now {
			c := t.idle[r.first]
			r.first = (r.first + 1) % len(t.idle)
			r.idle--
			r.busy++
			t.issue(c, r.due)
			r.due += r.interval
		}
		if r.idle > 0 {
			wait = min(wait, max(r.due-r.now, 0))
		}
	}
	n, e := epollWait(t.ep, t.events, wait, &t.timeout)
	if e != 0 && e != unix.EINTR {
		t.fail("epoll_wait: %v", e)
		return
	}
	for i := range max(n, 0) {
		t.event(r, &t.events[i])
	}
	if n <= 0 {
		r.now = clock()
	}
	r.full = t.res.Requests >= r.requests
}

func (t *thread) event(r *running, ev *unix.EpollEvent) {
	c := t.conns[ev.Fd]
	if ev.Events&unix.EPOLLOUT != 0 {
		t.flush(c)
	}
	if ev.Events&^unix.EPOLLOUT == 0 {
		return
	}
	answered := t.receive(c)
	r.now = clock()
	if answered > 0 {
		t.res.Latency.Record(r.now-c.start, uint64(answered))
	}
	if c.at < c.n || t.err != nil {
		return
	}
	switch {
	case r.stopped:
	case r.interval > 0:
		t.idle[(r.first+r.idle)%len(t.idle)] = c
		r.idle++
	case t.issue(c, r.now):
		return
	}
	r.busy--
}

// pin keeps the thread on its core until the returned function is called.
func (t *thread) pin() (restore func()) {
	var old, set unix.CPUSet
	if unix.SchedGetaffinity(0, &old) != nil {
		return func() {}
	}
	set.Set(t.cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.fail("cannot run on core %d: %v", t.cpu, err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &old) }
}

// realTime runs the thread under real-time scheduling until the returned function is
// called.
func (t *thread) realTime() (restore func()) {
	if err := setRealTime(true); err != nil {
		t.fail("no real-time scheduling: %v", err)
		return func() {}
	}
	return func() { _ = setRealTime(false) }
}

// CanRealTime reports whether a generator with Config.RealTime can run here.
func CanRealTime() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if setRealTime(true) != nil {
		return false
	}
	return setRealTime(false) == nil
}

// setRealTime gives the calling thread the lowest real-time priority, or the ordinary one.
func setRealTime(on bool) error {
	const roundRobin = 2 // SCHED_RR
	a := unix.SchedAttr{Size: unix.SizeofSchedAttr}
	if on {
		a.Policy, a.Priority = roundRobin, 1
	}
	return unix.SchedSetAttr(0, &a, 0)
}

// threadCPU is the user and system time of the calling thread.
func threadCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
