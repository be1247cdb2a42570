package server

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPace: a handshaker that has its processor for itself never rests; one that shares
// it with loops rests by how much it does.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name                     string
		owed, took, used, looped time.Duration
		want                     time.Duration
	}{
		{"alone", 0, ms, ms, 0, 0},
		{"clocks that differ a little", 0, ms, ms + time.Microsecond, ms, 0},
		{"loops elsewhere", 0, ms, ms, 3 * ms, 0},
		{"beside another program", 0, 2 * ms, ms, 0, 0},
		{"beside another program and loops with little to do", 0, 2 * ms, ms, ms / 10, 8 * ms / 10},
		{"beside a loop that works a tenth", 0, 10 * ms, 9 * ms, ms, 8 * ms},
		{"beside a loop that works half", 0, 2 * ms, ms, ms, 6 * ms},
		{"beside a loop that is never idle", 0, 100 * ms, ms, 99 * ms, 6 * ms},
		{"with a rest not taken yet", ms / 10, 2 * ms, ms, ms, 6*ms + ms/10},
		{"a part that takes for ever", 0, 2 * time.Second, time.Second, time.Second, longestRest},
		{"nothing done", 0, 5 * ms, 0, 5 * ms, 0},
		{"loops that have ended", 0, 2 * ms, ms, -5 * ms, 0},
		{"clocks of two threads", ms, 2 * ms, -ms, 5 * ms, ms},
	} {
		p := pace{owed: c.owed}
		p.owe(c.took, c.used, c.looped)
		if p.owed != c.want {
			t.Errorf("%s: rest owed after %v, in which it used %v and loops %v: got %v, want %v", c.name, c.took, c.used, c.looped, p.owed, c.want)
		}
	}
}

// TestThreadClock: the clock of a thread shows what that thread sees of its own.
func TestThreadClock(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	clock := threadClock(unix.Gettid())
	low := clockTime(unix.CLOCK_THREAD_CPUTIME_ID)
	got := clockTime(clock)
	high := clockTime(unix.CLOCK_THREAD_CPUTIME_ID)
	if low == 0 || got < low || got > high {
		t.Errorf("processor time by the clock of the thread: got %v, want between %v and %v", got, low, high)
	}
}

// TestPaceRests: what is owed is rested, once it is worth a sleep, and owed no more.
func TestPaceRests(t *testing.T) {
	const due = 5 * time.Millisecond
	rested := false
	for range 10 { // signals may end some early
		p := pace{owed: due}
		begin := time.Now()
		p.rest()
		took := time.Since(begin)
		if p.owed+took < due {
			t.Errorf("%v owed: rested %v, and only %v are still owed", due, took, p.owed)
		}
		rested = rested || p.owed == 0
	}
	if !rested {
		t.Errorf("%v owed, ten times: never rested for all of it", due)
	}
	p := pace{owed: shortestRest - 1}
	if p.rest(); p.owed != shortestRest-1 {
		t.Errorf("%v owed, too little for a sleep: %v are left", shortestRest-1, p.owed)
	}
}

// TestPaceBesideLoop: a part that waits while a loop works owes rest, and one that waits
// before there are loops owes none.
func TestPaceBesideLoop(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &loop{}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		l.clock.Store(threadClock(unix.Gettid()))
		for busy := 0; ; busy++ {
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	part := func(wait func()) time.Duration { // works for 5 ms and waits
		var p pace
		p.begin([]*loop{l})
		for used := p.used; clockTime(unix.CLOCK_THREAD_CPUTIME_ID)-used < 5*time.Millisecond; {
		}
		wait()
		p.end([]*loop{l})
		return p.owed
	}
	for l.clock.Load() == 0 {
		runtime.Gosched()
	}
	const want = longestRest // less than six times the work, and than eight times what was shared
	if owed := part(func() {
		for begin := worked([]*loop{l}); worked([]*loop{l})-begin < 5*time.Millisecond; {
			time.Sleep(time.Millisecond)
		}
	}); owed != want {
		t.Errorf("beside a loop that works: %v owed, expected %v", owed, want)
	}
	close(stop)
	<-ended
	if l.clock.Store(0); part(func() { time.Sleep(20 * time.Millisecond) }) != 0 {
		t.Error("beside a loop that has not begun: rest is owed")
	}
}
