package crashing

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"time"
)

// state is what a key may be found as.
type state struct {
	exists bool
	value  string
	flags  uint32
	ttl    bool
	label  string // what it was found with
	// acked is when the command that made it was answered; zero: never.
	acked time.Time
}

func (s *state) same(o *state) bool {
	if !s.exists || !o.exists {
		return s.exists == o.exists
	}
	return s.value == o.value && s.flags == o.flags && s.ttl == o.ttl
}

func (s *state) String() string {
	if !s.exists {
		return "absent"
	}
	return fmt.Sprintf("flags %d, ttl %v, value of %d bytes %.60q", s.flags, s.ttl, len(s.value), s.value)
}

// history is the states of one key since the last check, the first one being
// what was found then.
type history struct {
	key    string
	number bool // counted with incr
	states []state
	next   int // version of the next value
}

func (h *history) last() *state { return &h.states[len(h.states)-1] }

// oldest is the first state that may be found, by the rules of the mode.
func (h *history) oldest(always bool, before time.Time) int {
	at := 0
	for i := range h.states {
		if s := &h.states[i]; !s.acked.IsZero() && (always || s.acked.Before(before)) {
			at = i
		}
	}
	return at
}

// find returns which state a key was found in, or what is wrong.
func (h *history) find(found *state, always bool, before time.Time) (int, error) {
	from := h.oldest(always, before)
	for i := len(h.states) - 1; i >= from; i-- {
		if h.states[i].same(found) {
			return i, nil
		}
	}
	for i := from - 1; i >= 0; i-- {
		if h.states[i].same(found) {
			return 0, fmt.Errorf("key %s: lost: state %d of %d was found, %s; state %d was acknowledged at %s: %s",
				h.key, i, len(h.states)-1, found, from, h.states[from].acked.Format("05.000"), &h.states[from])
		}
	}
	return 0, fmt.Errorf("key %s: a state that it never had: %s", h.key, found)
}

// settle makes what was found the key's only state.
func (h *history) settle(found *state) { h.states = append(h.states[:0], *found) }

// value is text that names its key and version, and is as long as chance says,
// now and then longer than what is sent in one piece.
func value(rng *rand.Rand, key string, version int) string {
	n := rng.IntN(300)
	switch rng.IntN(40) {
	case 0:
		n = 9000 + rng.IntN(4000)
	case 1:
		n = 20000 + rng.IntN(60000)
	}
	head := fmt.Sprintf("%s/%d/%d/", key, version, n)
	body := strings.Repeat(string(rune('a'+version%26)), n)
	return fmt.Sprintf("%s%s/%08x", head, body, crc32.ChecksumIEEE([]byte(head+body)))
}

// op is one command on a key: what is sent, and the state that it makes.
type op struct {
	wire string
	next state
	ok   string // the answer after which the key is in that state
	// partial: NOT_FOUND is right too while the file is being loaded.
	partial bool
}

// command chooses the next command of a key.
func (h *history) command(rng *rand.Rand) op {
	s := *h.last()
	s.acked = time.Time{}
	switch n := rng.IntN(10); {
	case h.number && s.exists && n < 8:
		var v uint64
		fmt.Sscanf(s.value, "%d", &v)
		s.value = fmt.Sprint(v + 1)
		return op{"incr " + h.key + " 1\r\n", s, s.value, true}
	case !s.exists && n == 9:
		return op{"delete " + h.key + "\r\n", s, "NOT_FOUND", false}
	case s.exists && n == 9:
		s.exists = false
		return op{"delete " + h.key + "\r\n", s, "DELETED", false}
	case s.exists && n == 8:
		s.ttl = !s.ttl
		return op{fmt.Sprintf("touch %s %d\r\n", h.key, ttlOf(s.ttl)), s, "TOUCHED", true}
	}
	h.next++
	s.exists, s.flags, s.ttl = true, rng.Uint32N(1000), rng.IntN(3) == 0
	if h.number {
		s.value = "1000000000"
	} else {
		s.value = value(rng, h.key, h.next)
	}
	return op{h.set(&s), s, "STORED", false}
}

// set is the command that makes a state.
func (h *history) set(s *state) string {
	return fmt.Sprintf("set %s %d %d %d\r\n%s\r\n", h.key, s.flags, ttlOf(s.ttl), len(s.value), s.value)
}

func ttlOf(on bool) int {
	if on {
		return 100000
	}
	return 0
}
