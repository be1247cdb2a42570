package differ

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// keys is what the generators know of the items. Some keys, x0 to x39, get short
// times and are handled by timed only.
type keys struct {
	rng   *rand.Rand
	seen  map[string][2]uint64 // the last cas seen of each key, by server
	times map[string]window
}

// window is when an item with a short time ends: not before from, and not after
// to. Zero: there is none.
type window struct{ from, to time.Time }

// look is a command about such an item, and what must be found.
type look struct{ alive bool }

func newKeys(rng *rand.Rand) *keys {
	k := &keys{rng: rng, seen: map[string][2]uint64{}}
	k.forget()
	return k
}

// forget takes note of a flush.
func (k *keys) forget() { k.times = map[string]window{} }

func (k *keys) pick(s ...string) string { return s[k.rng.IntN(len(s))] }
func (k *keys) number(n ...int) int     { return n[k.rng.IntN(len(n))] }
func (k *keys) one(in int) bool         { return k.rng.IntN(in) == 0 }

var longKey = strings.Repeat("k", 250)

func (k *keys) key() string {
	if k.one(40) {
		return longKey
	}
	return k.pick("a", "b", "c", "dd", "e:1", "f\tg", "\x01\xff", "h")
}

func (k *keys) value() string {
	switch k.rng.IntN(14) {
	case 0, 1, 2:
		return k.pick("0", "1", "9", "10", "99", "100", "18446744073709551615", "18446744073709551616", " 5", "5 ", "007", "-1", "+3", "1.5", "5x", "5 x")
	case 3:
		return ""
	case 4:
		return strings.Repeat("v", k.rng.IntN(3000))
	case 5:
		return k.big()
	case 6:
		return k.pick("get a\r\nset b 0 0 1\r\n", "mg a v\r\n", "\r\n", "\x80\x00\x00\x01")
	}
	return strings.Repeat("v", k.rng.IntN(60))
}

// big is a large value, seldom a very large one.
func (k *keys) big() string {
	switch {
	case k.one(150):
		return strings.Repeat("w", 900_000+k.rng.IntN(140_000))
	case k.one(12):
		return strings.Repeat("w", k.number(16_383, 16_384, 16_385, 65_535, 65_536, 70_000, 262_144, 524_288, 600_000))
	}
	return strings.Repeat("w", k.rng.IntN(20_000))
}

// cas is the last unique seen of a key on a server, or one that no item has.
func (k *keys) cas(key string, server int) uint64 {
	if v := k.seen[key][server]; v != 0 {
		return v
	}
	return 1 << 60
}

// with fills in the cas of key for %C, for each server.
func (k *keys) with(key, command string) (ours, theirs string) {
	fill := func(server int) string {
		return strings.ReplaceAll(command, "%C", strconv.FormatUint(k.cas(key, server), 10))
	}
	return fill(0), fill(1)
}

// clocks is how far an item's end may be from what was asked for: the clocks
// count whole seconds and tick a second late at most.
const clocks = 2 * time.Second

// timed picks a key whose item, or its absence, is certain for as long as a batch
// takes. What it says of it must be so at both servers. Without such a key, ok is
// false.
func (k *keys) timed(b *batch) (key string, there, ok bool) {
	now := time.Now()
	for range 40 {
		key = fmt.Sprint("x", k.rng.IntN(40))
		w := k.times[key]
		switch {
		case now.Add(slowBatch).Before(w.from):
			b.looks = append(b.looks, look{true})
			return key, true, true
		case now.After(w.to):
			if !w.to.IsZero() {
				b.looks = append(b.looks, look{false})
			}
			delete(k.times, key)
			return key, false, true
		}
	}
	return "", false, false
}

// ttl is a short time.
func (k *keys) ttl() int { return k.number(1, 2, 5, 6, 7, 8, 10, 12) }

// lives notes that the item of a key gets a time from now on; 0 is none.
func (k *keys) lives(key string, ttl int) {
	if !strings.HasPrefix(key, "x") {
		return
	}
	now := time.Now()
	if ttl == 0 {
		ttl = 1 << 20
	}
	end := now.Add(time.Duration(ttl) * time.Second)
	k.times[key] = window{from: end.Add(-clocks), to: end.Add(slowBatch + clocks)}
}

// gone notes that the key has no item from now on.
func (k *keys) gone(key string) { delete(k.times, key) }

var (
	casOfKey  = regexp.MustCompile(`(?m)^VALUE ([^ ]+) \d+ \d+ (\d+)\r$|^ME ([^ ]+) .* cas=(\d+) |^(?:HD|VA)( .*)?\r$`)
	metaKey   = regexp.MustCompile(` k([^ ]+)`)
	metaCAS   = regexp.MustCompile(` c(\d+)`)
	encodedBy = regexp.MustCompile(` b( |$)`)
)

// uniquesOf are the keys and their cas uniques in a reply, in order.
func uniquesOf(b *batch, r *reply) (ks []string, cas []uint64) {
	add := func(key, text string) {
		n, _ := strconv.ParseUint(text, 10, 64)
		ks, cas = append(ks, key), append(cas, n)
	}
	for _, p := range r.packets {
		if key := b.about[p.opaque]; p.status == 0 && p.cas != 0 && key != "" {
			ks, cas = append(ks, key), append(cas, p.cas)
		}
	}
	for _, m := range casOfKey.FindAllStringSubmatch(r.text, -1) {
		switch {
		case m[2] != "":
			add(m[1], m[2])
		case m[4] != "":
			add(m[3], m[4])
		default:
			key, unique := metaKey.FindStringSubmatch(m[5]), metaCAS.FindStringSubmatch(m[5])
			if key != nil && unique != nil && !encodedBy.MatchString(m[5]) {
				add(key[1], unique[1])
			}
		}
	}
	return ks, cas
}

// learn notes the uniques of two equal replies, and says where one has changed on
// one side only.
func (k *keys) learn(b *batch, replies [2]*reply) (why string) {
	ours, a := uniquesOf(b, replies[0])
	theirs, c := uniquesOf(b, replies[1])
	if len(ours) != len(theirs) {
		return fmt.Sprintf("%d cas uniques, memcached has %d", len(ours), len(theirs))
	}
	for i, key := range ours {
		old, known := k.seen[key]
		if known && (a[i] == old[0]) != (c[i] == old[1]) {
			return fmt.Sprintf("cas of %q was %d and is %d, memcached's was %d and is %d", short(key), old[0], a[i], old[1], c[i])
		}
		k.seen[key] = [2]uint64{a[i], c[i]}
	}
	return ""
}
