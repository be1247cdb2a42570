package server

import (
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Who goes before whom where threads want the same processor: how much nicer than the
// process the threads are that are not loops. A step of nice is a fifth of the weight, so
// that beside a loop that is never idle another thread has a quarter of a processor and
// one for handshakes a thirtieth. Loops keep the priority that the process was given: to
// have more takes a privilege; to be nicer takes none, but without one it is for good.
const (
	ordinaryNice  = 5 // verifiers; with Settings.PreferLoops all that Go starts
	handshakeNice = 15
)

// Slices, which are hints to the scheduler (sched_setattr(2), sched_runtime). Linux since
// 6.12 takes the processor from a thread as soon as one with a shorter slice wakes that has
// not had more than its share; otherwise that one waits until the end of the slice, which
// is seen at a tick only, up to 4 ms later: a hundred requests. Older kernels ignore them.
// By itself the scheduler gives 0.7 to 3 ms, by the number of processors; 0.1 ms is the
// shortest there is.
const (
	loopSlice    = 100 * time.Microsecond
	patientSlice = 3 * time.Millisecond
)

// roster is which threads have a priority of their own.
type roster struct {
	nice    int // that of the process
	missing sync.WaitGroup
	mu      sync.Mutex
	tids    map[int]bool // +checklocks:mu
}

// open begins a roster of n threads, on a thread that has the process's priority.
func (r *roster) open(n int) {
	if now, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		r.nice = 20 - now // the system call's answer is 20 - nice
	}
	r.mu.Lock()
	r.tids = make(map[int]bool, n)
	r.mu.Unlock()
	r.missing.Add(n)
}

// enterLoop is for a loop's thread, which keeps its priority and its policy.
func (r *roster) enterLoop(preferred bool) {
	if preferred {
		_ = setAttr(0, unix.SCHED_FLAG_KEEP_POLICY, r.nice, loopSlice)
	}
	r.enter()
}

// enterNicer is for another thread that lives as long as the server does.
func (r *roster) enterNicer(nicer int) {
	r.putBehind(0, nicer)
	r.enter()
}

// enter puts the calling thread on the roster. Its goroutine is locked to it for good.
func (r *roster) enter() {
	r.mu.Lock()
	r.tids[unix.Gettid()] = true
	r.mu.Unlock()
	r.missing.Done()
}

// putBehind makes thread tid, or the calling one if that is 0, so much nicer than the
// process. The policy stays: a process of SCHED_BATCH or SCHED_IDLE shall be one as a whole.
// Only realtime knows no nice (EINVAL), and there the thread becomes an ordinary one. What
// is refused, by a seccomp filter say, is worse for the loops and still right.
func (r *roster) putBehind(tid, nicer int) {
	nice := min(r.nice+nicer, 19)
	if setAttr(tid, unix.SCHED_FLAG_KEEP_POLICY, nice, patientSlice) == unix.EINVAL {
		_ = setAttr(tid, 0, nice, patientSlice)
	}
}

// setAttr is sched_setattr(2) for SCHED_OTHER, or for what the thread has with the flag
// SCHED_FLAG_KEEP_POLICY (Linux 5.3).
func setAttr(tid int, flags uint64, nice int, slice time.Duration) error {
	return unix.SchedSetAttr(tid, &unix.SchedAttr{
		Size:    unix.SizeofSchedAttr,
		Flags:   flags,
		Nice:    int32(nice),
		Runtime: uint64(slice),
	}, 0)
}

// preferLoops waits for all who are to enter and puts every other thread of the process
// behind the loops. These threads run what Go schedules, above all its garbage collector: it
// works for tens of milliseconds without a pause, and a loop that wakes sooner than it has
// paid for what it had before, which with equal weights is as long again, is not let in
// before a tick. Threads that come later inherit all this from those that start them, and
// those of the roster start none: Go's runtime never does from a thread that a goroutine
// is locked to.
func (r *roster) preferLoops() {
	r.missing.Wait()
	const passes = 8 // a thread that another has started in between is in the next
	done := map[int]bool{}
	for range passes {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return // without /proc they are not known
		}
		again := false
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] || r.has(tid) {
				continue
			}
			r.putBehind(tid, ordinaryNice)
			done[tid], again = true, true
		}
		if !again {
			return
		}
	}
}

func (r *roster) has(tid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tids[tid]
}
