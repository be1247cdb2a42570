package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// entry is what a client knows of one of its keys.
type entry struct {
	exists bool
	value  []byte
	flags  uint32
	cas    uint64 // 0: not known
	label  string
	// It ends between these: the server has read its clock between our sending the
	// command and our reading its answer. Zero: never.
	early, exp time.Time
	unsure     bool // it may be gone: a command without reply may have come too late
	adrift     bool // when it ends is not known
	stale      bool // a meta get may say that it is, or that somebody makes it anew
}

// String is the entry without its value.
func (e *entry) String() string {
	if !e.exists {
		return "none"
	}
	end := "never ends"
	if !e.exp.IsZero() {
		end = fmt.Sprintf("ends in %v to %v", time.Until(e.early).Round(time.Millisecond), time.Until(e.exp).Round(time.Millisecond))
	}
	return fmt.Sprintf("%d bytes, flags %d, cas %d, label %s, %s", len(e.value), e.flags, e.cas, e.label, end)
}

// vague is how far the server's clock and ours may differ about the end of an
// item: it counts seconds, and is read when a turn of the loop begins, which on a
// machine without time to spare may be seconds before it ends.
const vague = 6 * time.Second

// possible says what a look at the key may find. In memory that is scarce, an item
// may always be gone.
func (c *client) possible(e *entry) (present, absent bool) {
	if !e.exists {
		return false, true
	}
	absent = c.scarce || e.unsure || e.adrift
	if e.adrift {
		return true, true
	}
	if !e.exp.IsZero() {
		if e.exp.Before(c.sent.Add(-vague)) {
			return false, true
		}
		absent = absent || time.Until(e.early) < vague
	}
	return true, absent
}

// seen tells the model that the key was found, or was not. It is an error if that
// cannot be.
func (c *client) seen(key string, e *entry, found bool) error {
	present, absent := c.possible(e)
	switch {
	case found && !present:
		return fmt.Errorf("key %s: found, but expected to be absent (%v)", key, e)
	case !found && !absent:
		return fmt.Errorf("key %s: absent, but expected a value (%v)", key, e)
	}
	if found {
		e.unsure = false
	} else if e.exists {
		if e.exp.IsZero() {
			c.w.counts.gone.Add(1)
		} else {
			c.w.counts.expired.Add(1)
		}
		*e = entry{}
	}
	return nil
}

// expect compares a VALUE block with the model. cas is 0 if none was shown.
func (e *entry) expect(key string, value []byte, flags uint32, cas uint64) error {
	switch {
	case !bytes.Equal(e.value, value):
		return fmt.Errorf("key %s: expected %d bytes %.60q, found %d bytes %.60q", key, len(e.value), e.value, len(value), value)
	case e.flags != flags:
		return fmt.Errorf("key %s: expected flags %d, found %d", key, e.flags, flags)
	case cas != 0 && e.cas != 0 && e.cas != cas:
		return fmt.Errorf("key %s: expected cas %d, found %d", key, e.cas, cas)
	}
	if cas != 0 {
		e.cas = cas
	}
	return nil
}

// arith is what incr and decr make of a value: ok is false if it is no number. What
// follows a blank does not count. A shorter result is padded with blanks, since
// memcached overwrites in place.
func arith(value []byte, delta uint64, decr bool) (n uint64, result []byte, ok bool) {
	digits, _, _ := bytes.Cut(value, []byte(" "))
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, nil, false
	}
	switch {
	case !decr:
		n += delta
	case delta > n:
		n = 0
	default:
		n -= delta
	}
	result = strconv.AppendUint(nil, n, 10)
	for len(result) < len(value) {
		result = append(result, ' ')
	}
	return n, result, true
}
