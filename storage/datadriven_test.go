package storage_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/storage"
)

// TestStoreFiles runs testdata/store: what a store does, one behaviour a file. Commands:
//
//	new [limit=MiB] [shards=n]             an empty store, clock at 1
//	set key=K [label= flags= exptime= cas= instance=]   the value is the input; "rewritten" or "linked"
//	get key=K [instance=]                  the text and what the header says, or why it is absent
//	delete key=K | touch key=K exptime=n
//	clock n | flush label=n
//	scan [prefix=P] [after=K] | crawl
//	stats | labels | classes
//	layout key=K                           the bytes of an item, field by field
func TestStoreFiles(t *testing.T) {
	datadriven.Walk(t, "testdata/store", func(t *testing.T, path string) {
		r := &runner{t: t}
		datadriven.RunTest(t, path, r.run)
		if r.s != nil {
			check(t, r.s)
		}
	})
}

type runner struct {
	t   *testing.T
	s   *storage.Store
	now uint32
}

func (r *runner) run(t *testing.T, d *datadriven.TestData) string {
	var key string
	var label, flags, exptime, instance, n int
	var cas uint64
	d.MaybeScanArgs(t, "key", &key)
	d.MaybeScanArgs(t, "label", &label)
	d.MaybeScanArgs(t, "flags", &flags)
	d.MaybeScanArgs(t, "exptime", &exptime)
	d.MaybeScanArgs(t, "instance", &instance)
	d.MaybeScanArgs(t, "cas", &cas)
	var h uint64
	var sh *storage.Shard
	var it storage.Item
	var why storage.Absence
	find := func() bool {
		h = r.s.Hash(uint32(instance), []byte(key))
		sh = r.s.Lock(h)
		it, why = sh.Find(h, uint32(instance), []byte(key), r.now)
		if it.Nil() {
			sh.Unlock()
		}
		return !it.Nil()
	}
	var b strings.Builder
	switch d.Cmd {
	case "new":
		limit, shards := 64, 4
		d.MaybeScanArgs(t, "limit", &limit)
		d.MaybeScanArgs(t, "shards", &shards)
		r.s = newStore(t, storage.Config{Limit: int64(limit) << 20, Shards: shards, Seed: 1})
		r.now = 1
	case "clock":
		if _, err := fmt.Sscan(d.CmdArgs[0].Key, &n); err != nil {
			t.Fatal(err)
		}
		r.now = uint32(n)
	case "set":
		value := strings.TrimSuffix(d.Input, "\n")
		spec := storage.Spec{
			Instance: uint32(instance), Key: []byte(key), Label: uint32(label), Flags: uint32(flags),
			Exptime: uint32(exptime), CAS: cas, NValue: len(value), Now: r.now,
		}
		if find() {
			if old, ok := sh.Rewrite(h, it, &spec); ok {
				copy(old.Value(), value)
				sh.Unlock()
				return "rewritten\n"
			}
		} else {
			sh = r.s.Lock(h)
		}
		defer sh.Unlock()
		it, err := sh.Alloc(h, &spec)
		if err != nil {
			return err.Error() + "\n"
		}
		copy(it.Value(), value)
		sh.Link(h, it)
		return "linked\n"
	case "get":
		if !find() {
			return fmt.Sprintf("%v\n", why)
		}
		defer sh.Unlock()
		fmt.Fprintf(&b, "%q\nlabel %d cas %d exptime %d stored %d access %d fetched %v size %d\n",
			it.Text(), it.Label(), it.CAS(), it.Exptime(), it.StoreTime(), it.LastAccess(), it.Fetched(), it.Size())
		sh.Hit(it, r.now)
	case "delete", "touch", "layout":
		if !find() {
			return "absent\n"
		}
		defer sh.Unlock()
		switch d.Cmd {
		case "delete":
			sh.Remove(h, it)
		case "touch":
			sh.SetExptime(it, uint32(exptime))
		case "layout":
			return it.Layout()
		}
	case "flush":
		r.s.FlushLabel(uint32(label), r.now)
	case "scan":
		var prefix, after string
		d.MaybeScanArgs(t, "prefix", &prefix)
		d.MaybeScanArgs(t, "after", &after)
		c := storage.Cursor{Prefix: []byte(prefix), After: []byte(after), Now: r.now}
		for r.s.Scan(&c, func(it storage.Item) bool {
			fmt.Fprintf(&b, "%s %d\n", it.Key(), it.Instance())
			return true
		}) {
		}
	case "crawl":
		var c storage.Crawl
		checked, reclaimed := 0, 0
		for more := true; more; {
			var n, m int
			n, m, more = r.s.CrawlStep(&c, r.now)
			checked += n
			reclaimed += m
		}
		fmt.Fprintf(&b, "%d items, %d reclaimed\n", checked, reclaimed)
	case "stats":
		b.WriteString(strings.ReplaceAll(strings.Trim(fmt.Sprintf("%+v", r.s.Stats()), "{}"), " ", "\n") + "\n")
	case "labels":
		r.s.Labels(func(label uint32, st storage.LabelStats) bool {
			fmt.Fprintf(&b, "%d: %+v\n", label, st)
			return true
		})
	case "classes":
		r.s.ClassStats(func(class int, st storage.ClassStats) { fmt.Fprintf(&b, "%d: %+v\n", class, st) })
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return string(bytes.TrimRight([]byte(b.String()), "\n")) + "\n"
}
