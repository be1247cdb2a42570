package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// pace keeps a handshaker from using all the time that loops leave on its processor. A
// loop that comes back to a processor that is never idle waits for it longer, whatever
// the scheduler does; and each handshake leaves garbage, whose collection takes more of
// the loops' time than the handshake took. So a handshaker that was kept waiting while loops
// worked rests afterwards: mostly that means that it shares a processor with one of them.
// The zero pace is ready.
type pace struct {
	since        time.Time     // when a part began
	used, looped time.Duration // what processor time the thread and the loops had used by then
	owed         time.Duration // rest that has not been taken
}

const (
	// restPerShared is how long to rest for the time that was shared with loops, and
	// restPerWork the most for the time worked: beside a loop that uses half of the
	// processor, a little at a time, a handshaker has an eighth; and beside one that uses
	// all of it next to none, rests or not.
	restPerShared = 8
	restPerWork   = 6
	// shortestRest is what a sleep is worth its costs for, longestRest what a stop of the
	// server may have to wait for.
	shortestRest = 200 * time.Microsecond
	longestRest  = 20 * time.Millisecond
)

// begin is before a part of a handshake.
func (p *pace) begin(loops []*loop) {
	p.looped = worked(loops)
	p.since, p.used = time.Now(), clockTime(unix.CLOCK_THREAD_CPUTIME_ID)
}

// end is after it, on the same thread.
func (p *pace) end(loops []*loop) {
	took := time.Since(p.since)
	used := clockTime(unix.CLOCK_THREAD_CPUTIME_ID) - p.used
	if took-used > shortestRest/restPerShared/10 { // else it was hardly kept waiting: the loops' clocks are not worth reading
		p.owe(took, used, worked(loops)-p.looped)
	}
}

// owe adds the rest for a part that took so long, of which it used so much of a processor,
// and in which loops used so much of theirs.
func (p *pace) owe(took, used, looped time.Duration) {
	shared := min(took-used, looped)
	p.owed = min(p.owed+max(0, min(restPerShared*shared, restPerWork*used)), longestRest)
}

// rest takes the rest that is owed, if it is worth it.
func (p *pace) rest() {
	if p.owed < shortestRest {
		return
	}
	begin := time.Now()
	ts := unix.NsecToTimespec(int64(p.owed))
	_ = unix.Nanosleep(&ts, nil) // a signal may end it: the remainder is owed
	p.owed = max(0, p.owed-time.Since(begin))
}

// worked is how much processor time the loops' threads have used.
func worked(loops []*loop) (sum time.Duration) {
	for _, l := range loops {
		if c := l.clock.Load(); c != 0 {
			sum += clockTime(c)
		}
	}
	return sum
}

// clockTime is what a clock of processor time shows; 0 for one that is not there, that of a thread that has ended.
func clockTime(clock int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(clock, &ts)
	return time.Duration(ts.Nano())
}

// threadClock is the clock of the processor time of a thread of this process: what
// pthread_getcpuclockid(3) returns (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED in the
// kernel's include/linux/posix-timers_types.h).
func threadClock(tid int) int32 { return int32(^tid)<<3 | 4 | 2 }
