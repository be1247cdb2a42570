package mac

import (
	"errors"
	"fmt"
	"testing"

	"sememcached/avc"
)

// TestReloadWhenFull: clients that have named as many contexts as there are numbers do
// not keep a reload from taking effect.
func TestReloadWhenFull(t *testing.T) {
	file := writeFile(t, "contexts", "client * system_u:system_r:kv_client_t:s0\n")
	m := open(t, Config{MaxLabels: 64, ContextsFile: file})
	m.SetLive(func(avc.SID) bool { return false })
	n := 0
	for i := range 10 {
		for {
			n++
			s, err := m.sids.Intern(fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d,c%d", n%31, 31+n%1000))
			if err != nil {
				break
			}
			m.sids.Release(s)
		}
		want := fmt.Sprintf("system_u:system_r:kv_client_t:s0:c%d", i)
		writeFile(t, file, "client * "+want+"\n")
		if err := m.Reload(); err != nil {
			t.Fatal(err)
		}
		s := m.Subject(m.Generation(), tcp("127.0.0.1"))
		if got := m.sids.String(s); got != want {
			t.Errorf("expected %s, found %s", want, got)
		}
		m.sids.Release(s)
	}
}

// TestReloadDoesNotWaitForWork: where the numbers cannot be collected, because some work
// takes long, a reload says so, and soon: whoever asked for it has other things to do.
func TestReloadDoesNotWaitForWork(t *testing.T) {
	file := writeFile(t, "contexts", "client * system_u:system_r:kv_client_t:s0\n")
	m := open(t, Config{MaxLabels: 64, ContextsFile: file})
	m.SetLive(func(avc.SID) bool { return false })
	e := m.NewEpoch()
	e.Begin()
	for n := 0; ; n++ {
		s, err := m.sids.Intern(fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", n))
		if err != nil {
			break
		}
		m.sids.Release(s)
	}
	writeFile(t, file, "client * system_u:system_r:kv_client_t:s0:c1000\n")
	if err := m.Reload(); !errors.Is(err, avc.ErrFull) {
		t.Errorf("expected %v, found %v", avc.ErrFull, err)
	}
	e.Close()
	if err := m.Reload(); err != nil {
		t.Error(err)
	}
}
