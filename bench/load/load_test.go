package load

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	prev := -1
	for _, ns := range []int64{0, 1, 127, 128, 129, 1000, 1e6, 1e9, 1e12, math.MaxInt64} {
		i := bucket(ns)
		if i < prev || i >= histBuckets {
			t.Fatalf("bucket(%d) = %d after %d, of %d", ns, i, prev, histBuckets)
		}
		prev = i
		if lo := lower(i); lo > ns || float64(ns-lo) > float64(ns)/64 {
			t.Errorf("bucket of %d begins at %d: more than 1/64 below", ns, lo)
		}
		if i > 0 && bucket(lower(i)-1) != i-1 {
			t.Errorf("bucket %d begins at %d, but %d is in bucket %d", i, lower(i), lower(i)-1, bucket(lower(i)-1))
		}
	}
}

func TestHistogramQuantile(t *testing.T) {
	var h, other Histogram
	for i := range 1000 {
		h.Record(int64(i+1)*1000, 1)
	}
	other.Record(5e6, 1000)
	h.Add(&other)
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1000}, {.25, 500e3}, {.5, 1e6}, {.99, 5e6}} {
		if got := h.Quantile(c.q); got > c.want || float64(c.want-got) > float64(c.want)/50 {
			t.Errorf("quantile %g: expected about %v, found %v", c.q, c.want, got)
		}
	}
	for _, c := range []struct {
		d    time.Duration
		want float64
	}{{0, 1}, {500 * time.Microsecond, 0.75}, {time.Millisecond, 0.5}, {5 * time.Millisecond, 0}, {time.Hour, 0}} {
		if got := h.Above(c.d); math.Abs(got-c.want) > 0.01 {
			t.Errorf("above %v: expected about %g, found %g", c.d, c.want, got)
		}
	}
	if got := new(Histogram).Above(0); got != 0 {
		t.Errorf("of nothing %g are above 0", got)
	}
	if h.Max() != 5e6 || h.Count() != 2000 {
		t.Errorf("expected a maximum of 5ms of 2000, found %v of %d", h.Max(), h.Count())
	}
}

func TestDigits(t *testing.T) {
	for _, i := range []uint32{0, 1, 0xdeadbeef, math.MaxUint32} {
		p := AppendKey(nil, i)
		if want := fmt.Sprintf("key:%08x", i); string(p) != want {
			t.Errorf("expected %s, found %s", want, p)
		}
		if got, ok := parseDigits(p[len(keyPrefix):]); got != i || !ok {
			t.Errorf("%s read as %x, %v", p, got, ok)
		}
	}
	if _, ok := parseDigits([]byte("0000000x")); ok {
		t.Error("x is no digit")
	}
}

// TestUniform: all keys, none outside.
func TestUniform(t *testing.T) {
	s := source{rng: 1, keys: 100}
	seen := make([]int, 100)
	for range 100_000 {
		seen[s.key()]++
	}
	for k, n := range seen {
		if n < 800 || n > 1200 {
			t.Errorf("key %d was drawn %d times of 100,000, expected about 1,000", k, n)
		}
	}
}

// TestZipf: the most frequent key has the share that the exponent gives it, and
// the hot keys are scattered.
func TestZipf(t *testing.T) {
	const keys, s = 1000, 0.99
	n := make([]int, keys)
	for _, k := range zipfSequence(keys, s, 1) {
		n[k]++
	}
	sum := 0.0
	for i := range keys {
		sum += math.Pow(float64(i+1), -s)
	}
	step := scatter(keys)
	for _, rank := range []int{0, 1, 10} {
		want := math.Pow(float64(rank+1), -s) / sum
		got := float64(n[uint64(rank)*step%keys]) / zipfSamples
		if math.Abs(got-want) > want/10 {
			t.Errorf("rank %d: expected a share of %.4f, found %.4f", rank, want, got)
		}
	}
}

// replies is what a memcached answers to three gets of two keys and a set; key 1
// is absent.
func replies(size int) string {
	v := string(AppendValue(nil, 2, size))
	hit := fmt.Sprintf("VALUE key:00000002 0 %d\r\n%s\r\n", size, v)
	return hit + "END\r\n" + "END\r\n" + hit + "END\r\n" + "STORED\r\n"
}

func waiting(t *testing.T, verify bool) (*thread, *conn) {
	t.Helper()
	cfg := Config{Network: "tcp", MultiGet: 2, ValueSize: 40, Verify: verify, Depth: 4}.withDefaults()
	th, err := newThread(&cfg, -1, newValues(cfg.ValueSize), source{keys: 10, rng: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(th.close)
	c := &conn{sets: []bool{false, false, false, true}, n: 4, keys: []uint32{1, 2, 1, 1, 2, 1, 2}}
	c.keyEnd = 2
	return th, c
}

// TestRepliesAtAnySplit: however replies are cut into packets, they are counted
// alike, and every byte is compared.
func TestRepliesAtAnySplit(t *testing.T) {
	text := replies(40)
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		th, c := waiting(t, true)
		rest := text
		var left []byte
		for len(rest) > 0 {
			n := 1 + r.IntN(min(20, len(rest)))
			p := append(left, rest[:n]...)
			rest = rest[n:]
			left = append([]byte(nil), th.consume(c, p)...)
		}
		want := Result{Requests: 4, Gets: 3, Keys: 7, Hits: 2, Misses: 4}
		got := th.res
		if got.Requests != want.Requests || got.Gets != want.Gets || got.Keys != want.Keys || got.Hits != want.Hits || got.Misses != want.Misses ||
			got.Errors+got.Wrong != 0 || len(left) > 0 || th.err != nil {
			t.Fatalf("expected 4 requests, 3 gets, 7 keys, 2 hits, 4 misses; found %d, %d, %d, %d, %d; errors %d, wrong %d (%s), left %q, %v",
				got.Requests, got.Gets, got.Keys, got.Hits, got.Misses, got.Errors, got.Wrong, got.Example, left, th.err)
		}
	}
}

// TestRepliesChecked: what is wrong is noticed, some of it with Verify only.
func TestRepliesChecked(t *testing.T) {
	text := replies(40)
	for _, c := range []struct {
		name, from, to string
		verify         bool
		fatal          bool
	}{
		{name: "another size", from: " 0 40\r\n", to: " 0 39\r\n", fatal: true},
		{name: "other flags", from: " 0 40\r\n", to: " 1 40\r\n", fatal: true},
		{name: "not stored", from: "STORED\r\n", to: "NOT_STORED\r\n"},
		{name: "an error", from: "END\r\n", to: "SERVER_ERROR x\r\n"},
		{name: "too much", from: "STORED\r\n", to: "STORED\r\nEND\r\n", fatal: true},
		{name: "another key", from: "key:00000002", to: "key:00000003", verify: true},
		{name: "another value", from: string(AppendValue(nil, 2, 40)), to: string(AppendValue(nil, 3, 40)), verify: true},
		{name: "no line end", from: "\r\nEND\r\nEND", to: "..END\r\nEND", verify: true},
	} {
		th, cn := waiting(t, c.verify)
		rest := th.consume(cn, []byte(strings.Replace(text, c.from, c.to, 1)))
		noticed := th.res.Errors+th.res.Wrong > 0
		if c.fatal {
			noticed = th.err != nil || len(rest) > 0
		}
		if !noticed {
			t.Errorf("%s: not noticed", c.name)
		}
	}
}

// stall is a server that answers every get with a miss, but sleeps once.
func stall(t *testing.T, after int, pause time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for n := 0; ; n++ {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			if n == after {
				time.Sleep(pause)
			}
			if _, err := c.Write(replyEnd); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

// TestNoCoordinatedOmission: a server that stalls for 200 ms once in a second has
// made a fifth of the requests of an open loop late, and only one of a closed loop.
func TestNoCoordinatedOmission(t *testing.T) {
	for _, c := range []struct {
		rate float64
		late bool
	}{{0, false}, {1000, true}} {
		g, err := New(Config{Network: "tcp", Addr: stall(t, 200, 200*time.Millisecond), Conns: 1, Rate: c.rate})
		if err != nil {
			t.Fatal(err)
		}
		res, err := g.Run(time.Second)
		g.Close()
		if err != nil {
			t.Fatal(err)
		}
		if p := res.Latency.Quantile(.93); (p > 30*time.Millisecond) != c.late {
			t.Errorf("rate %g: p93 is %v (of %d requests), expected above 30 ms: %v", c.rate, p, res.Requests, c.late)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []Config{
		{Network: "udp"},
		{Network: "tcp", Conns: 1, Threads: 2},
		{Network: "tcp", Threads: 2, CPUs: []int{0}},
		{Network: "tcp", Depth: 5000},
		{Network: "tcp", MultiGet: 101},
		{Network: "tcp", ValueSize: 7},
		{Network: "tcp", Sets: -1, Gets: 2},
		{Network: "tcp", Zipf: -1},
		{Network: "tcp", Addr: "127.0.0.1:1", Source: "nowhere"},
	} {
		if g, err := New(c); err == nil {
			g.Close()
			t.Errorf("%+v: expected an error", c)
		}
	}
}
