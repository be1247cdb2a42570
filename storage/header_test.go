package storage

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// noPointers fails if t or anything in it is a pointer: arena memory is not scanned, and
// a pointer there keeps nothing alive.
func noPointers(t *testing.T, path string, typ reflect.Type) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Array:
		noPointers(t, path+"[]", typ.Elem())
	case reflect.Struct:
		for i := range typ.NumField() {
			noPointers(t, path+"."+typ.Field(i).Name, typ.Field(i).Type)
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
	default:
		t.Errorf("%s: expected unsigned numbers only, found %v", path, typ)
	}
}

func TestArenaTypesHaveNoPointers(t *testing.T) {
	noPointers(t, "header", reflect.TypeFor[header]())
	noPointers(t, "bucket", reflect.TypeFor[bucket]())
	noPointers(t, "ghostSet", reflect.TypeFor[ghostSet]())
}

// The package comment draws the header; every field must be drawn at its offset.
func TestHeaderIsAsDrawn(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(src), "\n")
	for i, line := range lines {
		if !strings.Contains(line, "| next | prev |") {
			continue
		}
		offsets := strings.Fields(strings.TrimPrefix(lines[i-2], "//"))
		names := strings.Split(strings.Trim(strings.TrimPrefix(line, "//\t"), "|"), "|")
		typ := reflect.TypeFor[header]()
		if len(names) != typ.NumField()+1 || len(offsets) != len(names) {
			t.Fatalf("expected %d fields and the text, found %q at %q", typ.NumField(), names, offsets)
		}
		for j := range typ.NumField() {
			f := typ.Field(j)
			name := strings.TrimSpace(names[j])
			if name != f.Name || offsets[j] != itoa(int(f.Offset)) {
				t.Errorf("field %s at %d is drawn as %s at %s", f.Name, f.Offset, name, offsets[j])
			}
		}
		if want := offsets[len(offsets)-1]; want != itoa(int(unsafe.Sizeof(header{}))) {
			t.Errorf("the text is drawn at %s, the header ends at %d", want, unsafe.Sizeof(header{}))
		}
		if unsafe.Sizeof(header{}) > memcachedHeader+memcachedCAS {
			t.Errorf("the header has %d bytes, memcached's has %d", unsafe.Sizeof(header{}), memcachedHeader+memcachedCAS)
		}
		return
	}
	t.Fatal("no drawing of the header in doc.go")
}

func itoa(n int) string { return string(appendInt(nil, n)) }

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

func TestUnitsReachTheArena(t *testing.T) {
	for _, c := range []struct {
		size int64
		want uint8
	}{{1 << 20, 3}, {32 << 30, 3}, {32<<30 + 1, 4}, {64 << 30, 4}, {1 << 40, 8}} {
		if got := unitShift(c.size); got != c.want {
			t.Errorf("%d bytes: expected units of %d bytes, found %d", c.size, 1<<c.want, 1<<got)
		}
		if (c.size-1)>>unitShift(c.size) > 1<<32-1 {
			t.Errorf("%d bytes: units of %d bytes do not reach", c.size, 1<<unitShift(c.size))
		}
	}
	for _, unit := range []uint32{8, 16, 32, 64, 128} {
		s := newSizes(unit)
		for i, c := range s.chunk {
			if c%unit != 0 || i > 0 && c <= s.chunk[i-1] || c > largestChunk {
				t.Errorf("unit %d: chunk %d after %v", unit, c, s.chunk[max(0, i-1):i])
			}
		}
		for size := 1; size <= largestChunk; size += 1 + size/100 {
			if c := s.class(size); s.chunk[c] < uint32(size) || c > 0 && s.chunk[c-1] >= uint32(size) {
				t.Errorf("unit %d: %d bytes are put in a chunk of %d", unit, size, s.chunk[c])
			}
		}
	}
}

func TestHashSpreads(t *testing.T) {
	k := newHasher(42)
	var shards [256]int
	tags := make(map[uint32]int)
	const n = 1 << 16
	seen := make(map[uint64]bool)
	var key [12]byte
	copy(key[:], "user:")
	for i := range n {
		for j, v := 11, i; j > 4; j, v = j-1, v/10 {
			key[j] = byte('0' + v%10)
		}
		h := k.sum(0, key[:])
		if seen[h] {
			t.Fatalf("collision at %q", key)
		}
		seen[h] = true
		shards[h>>56]++
		tags[tagOf(h)]++
	}
	for i, got := range shards {
		if got < n/256/2 || got > n/256*2 {
			t.Errorf("shard %d has %d of %d keys", i, got, n)
		}
	}
	if len(tags) != 255 {
		t.Errorf("expected 255 tags, found %d", len(tags))
	}
	if k.sum(0, key[:]) == k.sum(1, key[:]) || k.sum(0, []byte("ab")) == k.sum(0, []byte("abb")) {
		t.Error("instance or length does not change the hash")
	}
}
