package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	denied       = "CLIENT_ERROR access denied"
	nonNumeric   = "CLIENT_ERROR cannot increment or decrement non-numeric value"
	tooLarge     = "SERVER_ERROR object too large for cache"
	outOfMemory  = "SERVER_ERROR out of memory"
	largestValue = 100 << 10
	impossible   = 1 << 62 // a cas that no item has
)

// command is one random command.
func (c *client) command() op {
	k := c.names[c.rng.IntN(len(c.names))]
	if c.tenant == admin && c.rng.IntN(5) == 0 {
		return c.opRelabel(k)
	}
	switch n := c.rng.IntN(130); {
	case n >= 100:
		return c.opMeta(k)
	case n < 20:
		return c.opGet("get", []string{k})
	case n < 26:
		return c.opGet("gets", []string{k})
	case n < 33:
		return c.opGet([]string{"get", "gets"}[n&1], c.someKeys())
	case n < 49:
		return c.opStore("set", k)
	case n < 53:
		return c.opStore("add", k)
	case n < 57:
		return c.opStore("replace", k)
	case n < 61:
		return c.opExtend("append", k)
	case n < 64:
		return c.opExtend("prepend", k)
	case n < 68:
		return c.opCAS(k)
	case n < 73:
		return c.opDelete(k, c.rng.IntN(3) == 0)
	case n < 79:
		return c.opArith(k)
	case n < 83:
		return c.opTouch(k)
	case n < 87:
		return c.opGat(k)
	case n < 90:
		return c.opForeign()
	case n < 92:
		return c.opStats()
	case n < 95:
		return c.opMac(k)
	case n < 97:
		return c.opBroken()
	case n < 98 && c.rng.IntN(20) == 0:
		return c.opTooLarge(k)
	case n < 98 && c.tenant == flusher:
		return c.opFlush()
	}
	return c.opPlain()
}

func (c *client) someKeys() []string {
	keys := make([]string, 2+c.rng.IntN(20))
	for i := range keys {
		keys[i] = c.names[c.rng.IntN(len(c.names))]
	}
	return keys
}

// value is a random value, one in three of them a number.
func (c *client) value() []byte {
	var n int
	switch r := c.rng.IntN(100); {
	case r < 33:
		return strconv.AppendUint(nil, c.rng.Uint64()>>c.rng.IntN(64), 10)
	case r < 85:
		n = c.rng.IntN(200)
	case r < 97:
		n = c.rng.IntN(5000)
	default:
		n = c.rng.IntN(largestValue)
	}
	p := randomBytes(c.rng, n)
	if n > 0 {
		p[0] = 'x' // no number by chance
	}
	return p
}

// randomBytes makes n bytes of every value, CR and LF among them.
func randomBytes(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := r.Uint64()
		for j := i; j < min(i+8, n); j++ {
			p[j], v = byte(v), v>>8
		}
	}
	return p
}

// exptime is what to send, and when the item will be gone; gone at once if that
// is not in the future.
func (c *client) exptime() (wire int, seconds int) {
	switch c.rng.IntN(20) {
	case 0:
		return 100_000, 0 // longer than any item is watched
	case 1, 2:
		n := 1 + c.rng.IntN(20)
		return n, n
	case 3:
		return -1, -1
	}
	return 0, 0
}

// expire sets the end of an item from when the server executes the command.
func (c *client) expire(e *entry, seconds int) {
	e.adrift = false
	switch {
	case seconds < 0:
		*e = entry{}
	case seconds == 0:
		e.early, e.exp = time.Time{}, time.Time{}
	default:
		d := time.Duration(seconds) * time.Second
		e.early, e.exp = c.sent.Add(d), time.Now().Add(d)
	}
}

func noreply(quiet bool) string {
	if quiet {
		return " noreply"
	}
	return ""
}

func (c *client) opGet(verb string, keys []string) op {
	return op{wire: []byte(verb + " " + strings.Join(keys, " ") + "\r\n"), check: func() error {
		return c.checkGet(keys, verb == "gets", func(*entry) {})
	}}
}

// checkGet reads the reply to a get of the keys: those that are there, in order.
func (c *client) checkGet(keys []string, cas bool, hit func(*entry)) error {
	at := 0
	err := c.values(func(key string, value []byte, flags uint32, id uint64) error {
		for ; at < len(keys) && keys[at] != key; at++ {
			if err := c.seen(keys[at], c.model[keys[at]], false); err != nil {
				return err
			}
		}
		if at == len(keys) {
			return fmt.Errorf("key %s was not asked for, or comes too late", key)
		}
		at++
		if cas != (id != 0) {
			return fmt.Errorf("key %s: cas %d, expected one: %v", key, id, cas)
		}
		e := c.model[key]
		if err := c.seen(key, e, true); err != nil {
			return err
		}
		if err := e.expect(key, value, flags, id); err != nil {
			return err
		}
		hit(e)
		return nil
	})
	for ; err == nil && at < len(keys); at++ {
		err = c.seen(keys[at], c.model[keys[at]], false)
	}
	return err
}

func (c *client) opStore(verb, k string) op {
	v, flags := c.value(), c.rng.Uint32()>>c.rng.IntN(32)
	exp, seconds := c.exptime()
	// Where memory is scarce, nobody would say that a replacement was refused.
	quiet := verb != "add" && !(verb == "replace" && c.scarce) && c.rng.IntN(4) == 0
	wire := fmt.Appendf(nil, "%s %s %d %d %d%s\r\n%s\r\n", verb, k, flags, exp, len(v), noreply(quiet), v)
	return op{wire: wire, key: k, check: func() error {
		e := c.model[k]
		present, absent := c.possible(e)
		stored := func() {
			label := e.label
			if !present {
				label = c.newLabel()
			} else if absent {
				label = ""
			}
			*e = entry{exists: true, value: v, flags: flags, label: label}
			c.expire(e, seconds)
		}
		if quiet {
			switch {
			case verb == "set":
				stored()
			case present: // replace
				stored()
				e.unsure = absent
			}
			return nil
		}
		n, err := c.wantStore("STORED", "NOT_STORED")
		switch {
		case err != nil:
			return err
		case n < 0:
			// Out of memory: a set has dropped the old value.
			if verb == "set" {
				*e = entry{}
			}
			return nil
		case n == 1 && verb == "set":
			return fmt.Errorf("key %s: NOT_STORED for a set", k)
		case verb == "set":
		case verb == "add":
			if err := c.seen(k, e, n == 1); err != nil {
				return err
			}
		default: // replace
			if err := c.seen(k, e, n == 0); err != nil {
				return err
			}
		}
		if n == 0 {
			stored()
		}
		return nil
	}}
}

// wantStore is want, but where memory is scarce a store may also be refused: -1.
func (c *client) wantStore(lines ...string) (int, error) {
	s, err := c.line()
	if err != nil {
		return 0, err
	}
	for i, l := range lines {
		if s == l {
			return i, nil
		}
	}
	if c.scarce && strings.HasPrefix(s, outOfMemory) {
		return -1, nil
	}
	return 0, fmt.Errorf("expected one of %q, found %.200q", lines, s)
}

// newLabel is the label of an item that is made now.
func (c *client) newLabel() string {
	if c.create != "" {
		return c.create
	}
	return labelOf(c.tenant)
}

func (c *client) opExtend(verb, k string) op {
	v := c.value()
	if len(c.model[k].value) > 2*largestValue {
		return c.opStore("set", k)
	}
	// Where memory is scarce, nobody would say whether there was any.
	quiet := !c.scarce && c.rng.IntN(4) == 0
	wire := fmt.Appendf(nil, "%s %s 0 0 %d%s\r\n%s\r\n", verb, k, len(v), noreply(quiet), v)
	return op{wire: wire, key: k, check: func() error {
		e := c.model[k]
		extend := func() {
			if verb == "append" {
				e.value = append(e.value[:len(e.value):len(e.value)], v...)
			} else {
				e.value = append(v[:len(v):len(v)], e.value...)
			}
			e.cas = 0
		}
		if quiet {
			if present, absent := c.possible(e); present {
				extend()
				e.unsure = e.unsure || absent
			}
			return nil
		}
		n, err := c.wantStore("STORED", "NOT_STORED")
		if err != nil || n < 0 {
			e.unsure = true
			return err
		}
		if err := c.seen(k, e, n == 0); err != nil || n == 1 {
			return err
		}
		extend()
		return nil
	}}
}

func (c *client) opCAS(k string) op {
	v := c.value()
	cas := c.model[k].cas
	if cas == 0 || c.rng.IntN(3) == 0 {
		cas = impossible
	}
	wire := fmt.Appendf(nil, "cas %s 7 0 %d %d\r\n%s\r\n", k, len(v), cas, v)
	return op{wire: wire, key: k, check: func() error {
		e := c.model[k]
		n, err := c.wantStore("STORED", "EXISTS", "NOT_FOUND")
		if err != nil || n < 0 {
			e.unsure = true
			return err
		}
		if err := c.seen(k, e, n != 2); err != nil || n == 2 {
			return err
		}
		// A cas that is not known belongs to a change since: it cannot be the one
		// that was sent.
		if match := e.cas != 0 && e.cas == cas; match != (n == 0) {
			return fmt.Errorf("key %s: cas %d, the item has %d (0: a new one), stored: %v", k, cas, e.cas, n == 0)
		}
		if n == 0 {
			*e = entry{exists: true, value: v, flags: 7, label: e.label}
		}
		return nil
	}}
}

// opForget deletes a key of which nobody knows whether it is there.
func (c *client) opForget(k string) op {
	if c.binary {
		return c.bin(binDelete, false, 0, nil, k, nil, k, func(f *frame) error {
			if f.status != binOK && f.status != binNotFound {
				return unexpected(k, f, nil)
			}
			return nil
		})
	}
	return op{wire: []byte("delete " + k + "\r\n"), check: func() error {
		_, err := c.want("DELETED", "NOT_FOUND")
		return err
	}}
}

func (c *client) opDelete(k string, quiet bool) op {
	if c.binary {
		return c.binDelete(k, quiet)
	}
	return op{wire: []byte("delete " + k + noreply(quiet) + "\r\n"), key: k, check: func() error {
		e := c.model[k]
		if !quiet {
			n, err := c.want("DELETED", "NOT_FOUND")
			if err == nil {
				err = c.seen(k, e, n == 0)
			}
			if err != nil {
				return err
			}
		}
		*e = entry{}
		return nil
	}}
}

func (c *client) opArith(k string) op {
	verb := []string{"incr", "decr"}[c.rng.IntN(2)]
	delta := c.rng.Uint64() >> c.rng.IntN(64)
	return op{wire: fmt.Appendf(nil, "%s %s %d\r\n", verb, k, delta), key: k, check: func() error {
		e := c.model[k]
		s, err := c.line()
		if err != nil {
			return err
		}
		if c.scarce && strings.HasPrefix(s, outOfMemory) {
			e.unsure = true
			return nil
		}
		if err := c.seen(k, e, s != "NOT_FOUND"); err != nil || s == "NOT_FOUND" {
			return err
		}
		n, result, ok := arith(e.value, delta, verb == "decr")
		switch {
		case !ok && s != nonNumeric:
			return fmt.Errorf("key %s, value %.60q: expected %q, found %.200q", k, e.value, nonNumeric, s)
		case ok && s != strconv.FormatUint(n, 10):
			return fmt.Errorf("key %s, value %.60q: expected %d, found %.200q", k, e.value, n, s)
		case ok:
			e.value, e.cas = result, 0
		}
		return nil
	}}
}

func (c *client) opTouch(k string) op {
	exp, seconds := c.exptime()
	quiet := c.rng.IntN(4) == 0
	return op{wire: fmt.Appendf(nil, "touch %s %d%s\r\n", k, exp, noreply(quiet)), key: k, check: func() error {
		e := c.model[k]
		if quiet {
			if present, absent := c.possible(e); present {
				e.unsure = e.unsure || absent
				c.expire(e, seconds)
			}
			return nil
		}
		n, err := c.want("TOUCHED", "NOT_FOUND")
		if err == nil {
			err = c.seen(k, e, n == 0)
		}
		if err == nil && n == 0 {
			c.expire(e, seconds)
		}
		return err
	}}
}

func (c *client) opGat(k string) op {
	verb := []string{"gat", "gats"}[c.rng.IntN(2)]
	exp, seconds := c.exptime()
	return op{wire: fmt.Appendf(nil, "%s %d %s\r\n", verb, exp, k), key: k, check: func() error {
		return c.checkGet([]string{k}, verb == "gats", func(e *entry) { c.expire(e, seconds) })
	}}
}
