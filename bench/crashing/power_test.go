package crashing

import (
	"slices"
	"testing"
	"time"
)

// powerRun records a run for a test.
func powerRun(t *testing.T, mode string, commands, images int) *power {
	t.Helper()
	if testing.Short() {
		t.Skip("short")
	}
	NeedTool(t, "strace")
	p, err := newPower(PowerConfig{
		Server: BuildServer(t), Dir: t.TempDir(), Mode: mode, Commands: commands, Images: images, Serve: 200, Seed: uint64(time.Now().UnixNano()),
	})
	if err == nil {
		err = p.record()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPower is the bounded version of the power failures of bench/crash.
func TestPower(t *testing.T) {
	for _, c := range []struct {
		mode                      string
		commands, images, atLeast int
	}{{"always", 200, 500, 200}, {"interval", 500, 500, 200}, {"warm", 200, 100, 5}} {
		t.Run(c.mode, func(t *testing.T) {
			p := powerRun(t, c.mode, c.commands, c.images)
			r, err := p.replay(p.trace.deeds)
			t.Logf("seed %d: %+v", p.Seed, r)
			if err != nil {
				t.Fatal(err)
			}
			if r.Images < c.atLeast || r.Commands < c.commands*9/10 || r.Absent == 0 || c.mode != "warm" && (r.Torn == 0 || r.Written == 0 || r.Served == 0) {
				t.Errorf("expected %d images at least, of every kind, found %+v", c.atLeast, r)
			}
		})
	}
}

// TestPowerFindsMistakes: what would be wrong in a program that writes its file
// is found.
func TestPowerFindsMistakes(t *testing.T) {
	p := powerRun(t, "always", 200, 2000)
	deeds := p.trace.deeds
	if _, err := p.replay(deeds); err != nil {
		t.Fatal(err)
	}
	// Commits, when the file is in its place: where the first page is written, the sync of
	// the data, the meta page, and the sync of that.
	var first, sync, page, end []int
	for i := len(deeds) / 4; i < len(deeds); i++ {
		if d := &deeds[i]; d.kind != deedWrite || d.at >= 2*pageSize {
			continue
		}
		s := i - 1
		for deeds[s].kind != deedSync {
			s--
		}
		f := s - 1
		for deeds[f].kind != deedSync {
			f--
		}
		for deeds[f].kind != deedWrite {
			f++
		}
		first, sync, page = append(first, f), append(sync, s), append(page, i)
		end = append(end, i+1+slices.IndexFunc(deeds[i+1:], func(d deed) bool { return d.kind == deedSync }))
	}
	without := func(at []int) []deed {
		var ds []deed
		for i, d := range deeds {
			if !slices.Contains(at, i) {
				ds = append(ds, d)
			}
		}
		return ds
	}
	answers := func() []deed { // each one a commit too early
		var ds []deed
		for i := range deeds {
			if deeds[i].kind != deedAnswer {
				ds = append(ds, deeds[i])
				continue
			}
			at := len(ds)
			for n := 0; at > 0 && n < 2; at-- {
				if ds[at-1].kind == deedSync {
					n++
				}
			}
			ds = slices.Insert(ds, at, deeds[i])
		}
		return ds
	}
	swapped := slices.Clone(deeds)
	for i := range first {
		swapped[first[i]], swapped[page[i]] = swapped[page[i]], swapped[first[i]]
	}
	var tail []int // syncs of what no transaction has written yet
	for i := len(deeds) / 4; i < len(deeds); i++ {
		if deeds[i].kind == deedSync && !slices.Contains(sync, i) && !slices.Contains(end, i) {
			tail = append(tail, i)
		}
	}
	t.Logf("%d tails of %d syncs, %d commits", len(tail), len(sync)+len(end)+len(tail), len(first))
	if len(tail) == 0 {
		t.Error("expected commits that are no transactions")
	}
	for name, ds := range map[string][]deed{
		"no sync of the data":            without(sync),
		"no sync of the meta page":       without(end),
		"no sync of the tail":            without(tail),
		"a page is not written":          without(first),
		"the meta page before the data":  swapped,
		"no sync of the directory":       slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool { return d.kind == deedSyncDir }),
		"answers before they are synced": answers(),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := p.replay(ds)
			if err == nil {
				t.Errorf("it was not found: %+v", r)
			}
			t.Log(err)
		})
	}
}

// TestPowerWarmFindsMistakes: a file that is read and removed, but not for good,
// would come back.
func TestPowerWarmFindsMistakes(t *testing.T) {
	p := powerRun(t, "warm", 60, 100)
	ds := slices.DeleteFunc(slices.Clone(p.trace.deeds), func(d deed) bool { return d.kind == deedSyncDir })
	if _, err := p.replay(ds); err == nil {
		t.Error("it was not found")
	}
}

// TestTracerLosesThread: a thread that dies in a call is let go by strace, which says so in one
// of two ways. Nobody saw such a call end: what it was to write may be on the disk or not.
func TestTracerLosesThread(t *testing.T) {
	for _, cut := range []string{"<unfinished ...>", "<detached ...>"} {
		tr := newTracer("/d")
		tr.fds, tr.dirs, tr.begun, tr.conns = map[int]int{8: 0}, map[int]bool{}, map[string]string{}, map[int]int{}
		if err := tr.line(`17009 pwrite64(8, "\x61\x62", 2, 4096 ` + cut); err != nil {
			t.Errorf("%s: %v", cut, err)
		}
		if len(tr.deeds) != 1 || tr.deeds[0].kind != deedWrite || tr.deeds[0].at != 4096 || string(tr.deeds[0].data) != "ab" {
			t.Errorf("%s: expected one write of ab at 4096, found %+v", cut, tr.deeds)
		}
	}
}
