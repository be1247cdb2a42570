package rig

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSpread(t *testing.T) {
	if got, want := SpreadOf([]float64{3, 1, 2}), (Spread{2, 1, 3}); got != want {
		t.Errorf("expected %v, found %v", want, got)
	}
	if got, want := SpreadOf([]float64{4, 1, 2, 3}), (Spread{2.5, 1, 4}); got != want {
		t.Errorf("expected %v, found %v", want, got)
	}
	if got := SpreadOf(nil); got != (Spread{}) {
		t.Errorf("expected nothing of nothing, found %v", got)
	}
	if got := LowerQuartile([]float64{5, 1, 4, 2, 3, 8, 7, 6}); got != 3 || LowerQuartile(nil) != 0 {
		t.Errorf("expected a lower quartile of 3, and 0 of nothing, found %v and %v", got, LowerQuartile(nil))
	}
	r := Ratios([]float64{6, 1, 8}, []float64{3, 0, 2})
	if len(r) != 2 || r[0] != 2 || r[1] != 4 {
		t.Errorf("expected 2 and 4 without the division by zero, found %v", r)
	}
}

// TestUsage: time that this process burns is seen.
func TestUsage(t *testing.T) {
	before, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Its own thread's clock says when enough was burnt, however busy the machine is.
	runtime.LockOSThread()
	for start := burnt(t); burnt(t)-start < 100*time.Millisecond; {
	}
	runtime.UnlockOSThread()
	after, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used := after.Since(before).CPU; used < 50*time.Millisecond || used > 5*time.Second {
		t.Errorf("100 ms of work counted as %v", used)
	}
	if n, err := RSS(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("RSS %d, %v", n, err)
	}
	if _, err := UsageOf(-1); err == nil {
		t.Error("expected an error for a process that cannot be")
	}
}

// burnt is the processor time of this thread.
func burnt(t *testing.T) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func TestStraceTable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "strace")
	text := `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 51.20    0.000301           3       100           sendto
 48.80    0.000287           2       110        10 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.000588           2       210        10 total
`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parseStrace(name)
	if err != nil || c.Total() != 210 || c["sendto"] != 100 || c["recvfrom"] != 110 {
		t.Errorf("expected 100 sendto and 110 recvfrom, found %v, %v", c, err)
	}
}

// TestStartFails: a server that ends at once is an error that tells why.
func TestStartFails(t *testing.T) {
	_, err := Start(Kind{Name: "none", Argv: []string{"/bin/sh", "-c", "echo no such thing >&2; exit 3"}}, Place{})
	if err == nil {
		t.Fatal("expected an error")
	}
	t.Log(err)
}

// TestCeiling: the server of the ceiling answers a mix without an error.
func TestCeiling(t *testing.T) {
	k, err := BuildCeiling(t.TempDir())
	if errors.Is(err, ErrNoCompiler) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{32, 100 << 10} {
		s, err := Start(k, Place{ValueSize: size})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ depth, keys int }{{1, 1}, {8, 1}, {2, 24}} {
			cfg := s.load(size, c.depth, c.keys)
			got, err := Compare([]*Server{s}, cfg, Options{Repetitions: 1, Time: 50 * time.Millisecond})
			if err != nil || got[0][0].Rate == 0 || got[0][0].HitRatio < 0.99 {
				t.Errorf("values of %d bytes, depth %d, %d keys: %+v, %v", size, c.depth, c.keys, got, err)
			}
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}
