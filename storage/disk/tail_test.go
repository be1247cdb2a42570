package disk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sememcached/storage"
)

// tailFile is a file with a tail, and what it is to hold.
type tailFile struct {
	t    *testing.T
	path string
	f    *File
	b    Batch
	n    int
	want []string // key=value, sorted
}

func newTailFile(t *testing.T) *tailFile {
	t.Helper()
	x := &tailFile{t: t, path: filepath.Join(t.TempDir(), "data")}
	x.open()
	if err := x.f.MakeTail(); err != nil {
		t.Fatal(err)
	}
	x.commit() // begins an epoch
	t.Cleanup(func() { _ = x.f.Close(false) })
	return x
}

func (x *tailFile) open() {
	x.t.Helper()
	f, err := Open(x.path, Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	x.f = f
}

// add puts n records into the batch, of size bytes each.
func (x *tailFile) add(n, size int) {
	for range n {
		x.n++
		key, value := fmt.Sprintf("key%05d", x.n), fmt.Sprintf("%d%s", x.n, strings.Repeat("v", size))
		x.b.Append(storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, CAS: uint64(x.n), Stored: 1, Key: []byte(key), Value: []byte(value)}), 1)
		x.want = append(x.want, key+"="+value)
	}
	x.b.CAS, x.b.Time = uint64(x.n), 1000+int64(x.n)
}

func (x *tailFile) extend() {
	x.t.Helper()
	if ok, err := x.f.Extend(&x.b); !ok || err != nil {
		x.t.Fatalf("expected a longer tail, found %v, %v", ok, err)
	}
}

func (x *tailFile) commit() {
	x.t.Helper()
	if _, err := x.f.Commit(&x.b); err != nil {
		x.t.Fatal(err)
	}
	x.b.Reset()
}

// bytes is the file as it is on the disk, had the machine failed now.
func (x *tailFile) bytes() []byte {
	x.t.Helper()
	b, err := os.ReadFile(x.path)
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

// holds opens a file twice, to be read and to be written, and compares what it
// holds with the first n of what was added.
func (x *tailFile) holds(whole []byte, n int) {
	x.t.Helper()
	path := filepath.Join(x.t.TempDir(), "copy")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		x.t.Fatal(err)
	}
	for _, how := range []Options{{ReadOnly: true}, {}, {}, {ReadOnly: true}} {
		f, err := Open(path, how)
		if err != nil {
			x.t.Fatal(err)
		}
		var found []string
		c, err := f.Live(100, func(r *storage.Record, _ *Label) error {
			found = append(found, string(r.Key)+"="+string(r.Value))
			return nil
		})
		slices.Sort(found)
		if err != nil || !slices.Equal(found, x.want[:n]) {
			x.t.Fatalf("%+v: expected the first %d of %d items, found %d, %+v, %v", how, n, len(x.want), len(found), c, err)
		}
		if cas, at, err := f.Last(); cas != uint64(n) || at != 1000+int64(n) || err != nil {
			x.t.Fatalf("%+v: expected cas %d, found %d, time %d, %v", how, n, cas, at, err)
		}
		ss, err := f.Segments()
		if err != nil || len(ss) == 0 || ss[len(ss)-1].Seq != f.Next()-1 || int64(len(ss)) != c.Segments {
			x.t.Fatalf("%+v: found %+v, next %d, %+v, %v", how, ss, f.Next(), c, err)
		}
		if err := f.Close(false); err != nil {
			x.t.Fatal(err)
		}
	}
}

// TestTail: what Extend has written is there after a crash, before the next
// transaction and after it.
func TestTail(t *testing.T) {
	x := newTailFile(t)
	for round := range 4 {
		for i := range 5 {
			x.add(1+7*i, 100*i)
			x.extend()
			x.holds(x.bytes(), x.n)
		}
		if round == 2 { // a crash
			_ = x.f.Close(false)
			x.b = Batch{}
			x.open()
			x.holds(x.bytes(), x.n)
			x.add(3, 10)
			if ok, err := x.f.Extend(&x.b); ok || err != nil {
				t.Fatalf("expected what is in the tail to go first, found %v, %v", ok, err)
			}
			x.commit()
			x.holds(x.bytes(), x.n)
			x.add(3, 10)
			x.extend()
			x.holds(x.bytes(), x.n)
		}
		x.add(2, 10) // in the transaction only
		x.commit()
		x.holds(x.bytes(), x.n)
	}
	if err := VerifyPages(x.f.file); err != nil {
		t.Error(err)
	}
}

// TestTailTorn: a group that is not whole is not there, and nothing behind it; all
// that was synced before is.
func TestTailTorn(t *testing.T) {
	x := newTailFile(t)
	x.add(3, 100)
	x.commit()
	ends, counts := []int64{0}, []int{x.n}
	for i := range 6 {
		x.add(2+i, 1500)
		x.extend()
		ends, counts = append(ends, x.f.tail.used), append(counts, x.n)
	}
	whole := x.bytes()
	for g := range len(ends) - 1 {
		for page := ends[g]; page < ends[g+1]; page += tailPage {
			torn := slices.Clone(whole)
			copy(torn[x.f.tail.at+page:], bytes.Repeat([]byte{byte(0xff * (page / tailPage % 2))}, tailPage))
			x.holds(torn, counts[g])
		}
	}
}

// TestTailEpoch: groups of before the last transaction do not count, whatever was
// written over the first of them.
func TestTailEpoch(t *testing.T) {
	x := newTailFile(t)
	for range 5 {
		x.add(1, 100)
		x.extend()
	}
	x.commit()
	old := x.bytes()
	x.holds(old, 5)
	x.add(1, 100)
	x.extend()
	x.holds(x.bytes(), 6)
	// A transaction that the tail has no part in: what comes after it is not to be
	// taken for something that follows the state before.
	x.commit()
	before := x.bytes()
	x.add(1, 10)
	x.commit()
	x.add(1, 10)
	x.extend()
	at := x.f.tail.at
	copy(before[at:], x.bytes()[at:at+x.f.tail.size])
	x.holds(before, 6)
}

// TestTailRoom: what does not fit is committed, and what is no record.
func TestTailRoom(t *testing.T) {
	x := newTailFile(t)
	x.add(1, 100)
	x.b.Labels = append(x.b.Labels, Label{ID: 7, Context: "a:b:c"})
	if ok, err := x.f.Extend(&x.b); ok || err != nil {
		t.Fatalf("expected a label to need a transaction, found %v, %v", ok, err)
	}
	x.commit()
	groups := 0
	for {
		x.add(1, 100_000)
		ok, err := x.f.Extend(&x.b)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		groups++
	}
	if groups < 15 || x.f.tail.used > x.f.tail.size || x.f.tail.size < TailSize-tailPage {
		t.Errorf("found %d groups, %d of %d bytes", groups, x.f.tail.used, x.f.tail.size)
	}
	x.holds(x.bytes(), x.n-1)
	x.commit()
	x.holds(x.bytes(), x.n)
	x.add(1, 100)
	x.extend()
	x.holds(x.bytes(), x.n)
}

// TestTailCopy: a copy holds what was there when it was begun, and no more than some
// of what came then.
func TestTailCopy(t *testing.T) {
	x := newTailFile(t)
	x.add(3, 100)
	x.commit()
	x.add(3, 100)
	x.extend()
	var b bytes.Buffer
	if _, err := x.f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	x.holds(b.Bytes(), 6)
}

// TestTailKept: of a batch, what is on the disk and what is not.
func TestTailKept(t *testing.T) {
	x := newTailFile(t)
	list := func(each func(func([]byte))) (n int) {
		each(func(records []byte) {
			var r storage.Record
			for at := 0; at < len(records); n++ {
				k, err := storage.ParseRecord(records[at:], &r)
				if err != nil {
					t.Fatal(err)
				}
				at += k
			}
		})
		return n
	}
	look := func(kept, fresh int) {
		t.Helper()
		if k, f := list(x.b.EachKept), list(x.b.EachNew); k != kept || f != fresh || x.b.Kept() != uint64(kept) || x.b.Settled() != (fresh == 0) {
			t.Errorf("expected %d and %d records, found %d (%d) and %d", kept, fresh, k, x.b.Kept(), f)
		}
	}
	look(0, 0)
	x.add(5, 100)
	look(0, 5)
	x.extend()
	look(5, 0)
	x.add(3, 200_000) // a chunk each
	look(5, 3)
	x.extend()
	look(8, 0)
	x.add(1, 1)
	look(8, 1)
	x.commit()
	look(0, 0)
}
