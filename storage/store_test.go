package storage_test

import (
	"bytes"
	"fmt"
	"testing"

	"sememcached/storage"
)

func newStore(t testing.TB, cfg storage.Config) *storage.Store {
	t.Helper()
	s, err := storage.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// set stores a value as a caller would: find, then rewrite in place or allocate and link.
func set(s *storage.Store, spec storage.Spec, value []byte) error {
	spec.NValue = len(value)
	h := s.Hash(spec.Instance, spec.Key)
	sh := s.Lock(h)
	defer sh.Unlock()
	spec.CAS = s.NextCAS()
	if old, _ := sh.Find(h, spec.Instance, spec.Key, spec.Now); !old.Nil() {
		if it, ok := sh.Rewrite(h, old, &spec); ok {
			copy(it.Value(), value)
			return nil
		}
	}
	it, err := sh.Alloc(h, &spec)
	if err != nil {
		return err
	}
	copy(it.Value(), value)
	sh.Link(h, it)
	return nil
}

// get returns a copy of the text of a key, "" if it is absent.
func get(s *storage.Store, key string, now uint32) string {
	h := s.Hash(0, []byte(key))
	sh := s.Lock(h)
	defer sh.Unlock()
	it, _ := sh.Find(h, 0, []byte(key), now)
	if it.Nil() {
		return ""
	}
	sh.Hit(it, now)
	return string(it.Text())
}

func check(t testing.TB, s *storage.Store) {
	t.Helper()
	if err := s.Check(0); err != nil {
		t.Fatal(err)
	}
}

func TestSetGetOverwriteDelete(t *testing.T) {
	s := newStore(t, storage.Config{})
	for i := range 50_000 {
		key := fmt.Appendf(nil, "key:%d", i)
		if err := set(s, storage.Spec{Key: key, Label: 7, Flags: uint32(i), Now: 5}, fmt.Appendf(nil, "value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, s)
	for i := range 50_000 {
		value := fmt.Sprintf("value %d", i)
		want := fmt.Sprintf("key:%d %d %d\r\n%s\r\n", i, i, len(value), value)
		if got := get(s, fmt.Sprintf("key:%d", i), 5); got != want {
			t.Fatalf("key:%d: expected %q, found %q", i, want, got)
		}
	}
	for i := range 50_000 {
		key := fmt.Appendf(nil, "key:%d", i)
		if err := set(s, storage.Spec{Key: key, Label: 7, Now: 6}, bytes.Repeat([]byte{'x'}, i%400)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, s)
	if st := s.Stats(); st.CurrItems != 50_000 || st.TotalItems != 100_000 || st.Evictions != 0 {
		t.Fatalf("unexpected statistics: %+v", st)
	}
	for i := range 50_000 {
		key := fmt.Appendf(nil, "key:%d", i)
		h := s.Hash(0, key)
		sh := s.Lock(h)
		it, why := sh.Find(h, 0, key, 6)
		if it.Nil() {
			t.Fatalf("key:%d is absent: %v", i, why)
		}
		sh.Remove(h, it)
		sh.Unlock()
	}
	check(t, s)
	if st := s.Stats(); st.CurrItems != 0 || st.Bytes != 0 || s.LabelItems(7) != 0 {
		t.Fatalf("unexpected statistics: %+v, %d of the label", st, s.LabelItems(7))
	}
}

func TestMixedSizesNeverRunOutOfMemory(t *testing.T) {
	s := newStore(t, storage.Config{Limit: 8 << 20, Seed: 1})
	value := make([]byte, 1<<20)
	for i := range 30_000 {
		n := 10 + (i*i*7919)%4000
		if i%100 == 0 {
			n = 10 + (i*7919)%1_040_000
		}
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%d", i), Now: 1}, value[:n]); err != nil {
			t.Fatalf("store %d of %d bytes: %v", i, n, err)
		}
	}
	check(t, s)
	t.Logf("%+v", s.Stats())
}
