package engine_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestUndoLabel: what is undone after a commit that failed has its label again, also if that commit would
// have deleted the label from the file.
func TestUndoLabel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	file, peer := people(t)
	const context = "system_u:object_r:kv_departed_t:s0"
	write(t, path, context, "k")
	eng, _, _ := setup{mac: mac.Config{ContextsFile: file}}.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path, Sync: engine.SyncAlways})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	admin := enginetest.NewDriver(t, eng, peer(3))
	defer admin.Close()
	label := func() string {
		c := admin.Call(engine.OpLabel, "k")
		st := admin.Run(eng.Label)
		return string(c.Text) + " " + fmt.Sprint(st)
	}
	for _, v := range []string{"1", "2"} {
		admin.Store(engine.OpSet, "other", v)
		if err := data.Barrier(); err != nil {
			t.Fatal(err)
		}
	}
	before := label()
	started := make(chan struct{})
	result := make(chan engine.Status)
	go func() {
		<-started
		d := enginetest.NewDriver(t, eng, peer(3))
		defer d.Close()
		d.Call(engine.OpDelete, "k")
		result <- d.Run(eng.Delete)
	}()
	drop, unused := data.FailRewriting(started, 1)
	t.Log("delete:", <-result, "drop", drop, "unused labels", unused)
	if after := label(); after != before {
		t.Errorf("before %q, after the undo %q", before, after)
	}
}
