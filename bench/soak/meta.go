package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// metaReply is the answer to one meta command; word is "" where none came.
type metaReply struct {
	word  string
	flags map[byte]string
	value []byte
}

// meta sends a meta command with a mn behind it, so that an answer that q hides is
// seen to be missing, and hands on what came between.
func (c *client) meta(key, line string, data []byte, check func(r *metaReply) error) op {
	wire := []byte(line + "\r\n")
	if data != nil {
		wire = append(append(wire, data...), "\r\n"...)
	}
	return op{wire: append(wire, "mn\r\n"...), key: key, check: func() error {
		r, err := c.metaReply()
		if err != nil {
			return err
		}
		c.w.counts.meta.Add(1)
		if err := check(r); err != nil || r.word == "" {
			return err
		}
		_, err = c.want("MN")
		return err
	}}
}

func (c *client) metaReply() (*metaReply, error) {
	s, err := c.line()
	if err != nil {
		return nil, err
	}
	r := &metaReply{word: s, flags: map[byte]string{}}
	switch {
	case s == "MN":
		r.word = ""
		return r, nil
	case strings.HasPrefix(s, "CLIENT_ERROR "), strings.HasPrefix(s, "SERVER_ERROR "), s == "ERROR":
		return r, nil
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		return nil, fmt.Errorf("expected a meta reply, found %.200q", s)
	}
	r.word, words = words[0], words[1:]
	if r.word == "VA" && len(words) > 0 {
		n, err := strconv.Atoi(words[0])
		if err != nil || n < 0 || n > 16<<20 {
			return nil, fmt.Errorf("expected a length in %.200q", s)
		}
		words = words[1:]
		r.value = make([]byte, n+2)
		if _, err := io.ReadFull(c.r, r.value); err != nil {
			return nil, err
		}
		if r.value[n] != '\r' || r.value[n+1] != '\n' {
			return nil, fmt.Errorf("no CR LF after the %d bytes of %.200q", n, s)
		}
		r.value = r.value[:n]
	}
	for _, w := range words {
		r.flags[w[0]] = w[1:]
	}
	return r, nil
}

// metaKey is how a key is written: now and then in base64.
func (c *client) metaKey(k string) (written, flag string) {
	if len(k) > 180 || c.rng.IntN(6) != 0 { // it must be within 250 as it is written
		return k, ""
	}
	return base64.StdEncoding.EncodeToString([]byte(k)), " b"
}

// opMeta is one of the meta commands.
func (c *client) opMeta(k string) op {
	switch n := c.rng.IntN(20); {
	case n < 9:
		return c.opMetaGet(k)
	case n < 14:
		return c.opMetaSet(k)
	case n < 16:
		return c.opMetaDelete(k)
	case n < 19:
		return c.opMetaArith(k)
	}
	return c.meta("", "me "+k, nil, func(r *metaReply) error {
		if r.word != "ME" && r.word != "EN" {
			return fmt.Errorf("key %s: expected ME or EN, found %.200q", k, r.word)
		}
		return c.seen(k, c.model[k], r.word == "ME")
	})
}

func (c *client) opMetaGet(k string) op {
	written, line := c.metaKey(k)
	for _, f := range "vfstckhl" {
		if c.rng.IntN(2) == 0 {
			line += " " + string(f)
		}
	}
	quiet := c.rng.IntN(4) == 0
	if quiet {
		line += " q"
	}
	opaque := ""
	if c.rng.IntN(3) == 0 {
		opaque = strconv.Itoa(c.rng.IntN(1 << 30))
		line += " O" + opaque
	}
	touch, seconds, vivify, recache := false, 0, false, false
	switch c.rng.IntN(10) {
	case 0:
		var exp int
		exp, seconds = c.exptime()
		touch = true
		line += fmt.Sprintf(" T%d", exp)
	case 1:
		vivify = true
		line = strings.NewReplacer(" s", "", " f", "").Replace(line) + " N60 s f"
	case 2:
		recache = true
		line += " R30"
	}
	key := ""
	if touch || vivify || recache {
		key = k
	}
	return c.meta(key, "mg "+written+line, nil, func(r *metaReply) error {
		e := c.model[k]
		hit := r.word == "HD" || r.word == "VA"
		switch {
		case hit:
		case r.word == "EN" && !quiet && !vivify, r.word == "" && quiet && !vivify:
			return c.seen(k, e, false)
		case vivify && c.scarce && strings.HasPrefix(r.word, outOfMemory):
			return c.seen(k, e, false)
		default:
			return fmt.Errorf("key %s: found %.200q", k, r.word)
		}
		_, won := r.flags['W']
		if vivify && won && r.flags['s'] == "0" {
			// Made by this command, or an empty one that is stale.
			present, absent := c.possible(e)
			if !absent && !e.stale {
				return fmt.Errorf("key %s: made anew, but expected to be there (%v)", k, e)
			}
			*e = entry{exists: true, stale: true, early: c.sent.Add(time.Minute), exp: time.Now().Add(time.Minute), label: c.newLabel()}
			if present && r.flags['f'] != "0" {
				flags, err := strconv.ParseUint(r.flags['f'], 10, 32)
				if err != nil {
					return fmt.Errorf("key %s: %w", k, err)
				}
				e.flags = uint32(flags)
			}
			if present {
				e.label, e.adrift = "", true
			}
		}
		if err := c.seen(k, e, true); err != nil {
			return err
		}
		if recache {
			e.stale = true // from now on one may be told to make it anew, others that somebody does
		}
		if touch || vivify {
			delete(r.flags, 't') // before or after the change, as the flags stand
		}
		if err := c.metaFlags(k, e, r, opaque); err != nil {
			return err
		}
		if touch {
			c.expire(e, seconds)
		}
		return nil
	})
}

// metaFlags compares what a meta reply shows of an item with the model.
func (c *client) metaFlags(k string, e *entry, r *metaReply, opaque string) error {
	bad := func(flag byte, want any) error {
		return fmt.Errorf("key %s: expected %c%v, found %c%s (%v)", k, flag, want, flag, r.flags[flag], e)
	}
	if got, ok := r.flags['O']; ok != (opaque != "") || got != opaque {
		return bad('O', opaque)
	}
	if got, ok := r.flags['f']; ok && got != strconv.FormatUint(uint64(e.flags), 10) {
		return bad('f', e.flags)
	}
	if got, ok := r.flags['s']; ok && got != strconv.Itoa(len(e.value)) {
		return bad('s', len(e.value))
	}
	if got, ok := r.flags['k']; ok && got != k && got != base64.StdEncoding.EncodeToString([]byte(k)) {
		return bad('k', k)
	}
	if got, ok := r.flags['c']; ok {
		n, err := strconv.ParseUint(got, 10, 64)
		if err != nil || n == 0 || e.cas != 0 && e.cas != n {
			return bad('c', e.cas)
		}
		e.cas = n
	}
	if got, ok := r.flags['t']; ok {
		left, err := strconv.Atoi(got)
		switch {
		case e.adrift:
		case e.exp.IsZero() && got != "-1" && (err != nil || left < 90_000):
			return bad('t', -1)
		case !e.exp.IsZero() && (err != nil || left < 0 || time.Duration(left)*time.Second > e.exp.Sub(c.sent)+vague):
			return bad('t', time.Until(e.exp))
		}
	}
	for _, f := range "WXZ" {
		if _, ok := r.flags[byte(f)]; ok && !e.stale {
			return fmt.Errorf("key %s: %c without a reason (%v)", k, f, e)
		}
	}
	if r.word == "VA" {
		return e.expect(k, r.value, e.flags, 0)
	}
	return nil
}

func (c *client) opMetaSet(k string) op {
	written, line := c.metaKey(k)
	mode := "SSSSSEAPR"[c.rng.IntN(9)]
	v, flags := c.value(), c.rng.Uint32()>>c.rng.IntN(32)
	if (mode == 'A' || mode == 'P') && len(c.model[k].value) > 2*largestValue {
		mode = 'S'
	}
	exp, seconds := c.exptime()
	line = fmt.Sprintf("ms %s %d%s M%c T%d F%d c", written, len(v), line, mode, exp, flags)
	cas := uint64(0)
	if mode == 'S' && c.model[k].cas != 0 && c.rng.IntN(3) == 0 {
		if cas = c.model[k].cas; c.rng.IntN(3) == 0 {
			cas = impossible
		}
		line += fmt.Sprintf(" C%d", cas)
	}
	return c.meta(k, line, v, func(r *metaReply) error {
		e := c.model[k]
		if c.scarce && strings.HasPrefix(r.word, outOfMemory) {
			e.unsure = true
			if mode == 'S' && cas == 0 {
				*e = entry{}
			}
			return nil
		}
		stored := r.word == "HD"
		present, absent := c.possible(e)
		var err error
		switch {
		case r.word != "HD" && r.word != "NS" && r.word != "EX" && r.word != "NF":
			return fmt.Errorf("key %s: found %.200q", k, r.word)
		case cas != 0:
			if err = c.seen(k, e, r.word != "NF"); err == nil && r.word != "NF" && stored != (e.cas != 0 && e.cas == cas) {
				err = fmt.Errorf("key %s: C%d answered %s (%v)", k, cas, r.word, e)
			}
		case mode == 'S' && !stored:
			err = fmt.Errorf("key %s: a set answered %s", k, r.word)
		case mode == 'S':
		case mode == 'E':
			err = c.seen(k, e, !stored)
		default:
			err = c.seen(k, e, stored)
		}
		if err != nil || !stored {
			return err
		}
		id, err := strconv.ParseUint(r.flags['c'], 10, 64)
		if err != nil || id == 0 {
			return fmt.Errorf("key %s: expected a cas, found %q", k, r.flags['c'])
		}
		switch label := e.label; mode {
		case 'A':
			e.value = append(e.value[:len(e.value):len(e.value)], v...)
		case 'P':
			e.value = append(v[:len(v):len(v)], e.value...)
		default:
			if !present {
				label = c.newLabel()
			} else if absent && mode == 'S' && cas == 0 {
				label = ""
			}
			*e = entry{exists: true, value: v, flags: flags, label: label}
			c.expire(e, seconds)
		}
		e.cas = id
		return nil
	})
}

func (c *client) opMetaDelete(k string) op {
	written, line := c.metaKey(k)
	quiet := c.rng.IntN(3) == 0
	if quiet {
		line += " q"
	}
	stale := c.rng.IntN(3) == 0
	if stale {
		line += " I"
	}
	return c.meta(k, "md "+written+line, nil, func(r *metaReply) error {
		e := c.model[k]
		switch {
		case r.word != "HD" && r.word != "NF" && r.word != "", quiet != (r.word == "") && r.word != "NF":
			return fmt.Errorf("key %s: found %.200q", k, r.word)
		}
		// q hides HD.
		if err := c.seen(k, e, r.word != "NF"); err != nil || r.word == "NF" {
			return err
		}
		if stale {
			e.stale, e.cas = true, 0
		} else {
			*e = entry{}
		}
		return nil
	})
}

func (c *client) opMetaArith(k string) op {
	written, line := c.metaKey(k)
	delta := c.rng.Uint64() >> c.rng.IntN(64)
	decr := c.rng.IntN(2) == 0
	initial, vivify := c.rng.Uint64()>>1, c.rng.IntN(3) == 0
	line += fmt.Sprintf(" v D%d", delta)
	if decr {
		line += " MD"
	}
	if vivify {
		line += fmt.Sprintf(" N60 J%d", initial)
	}
	return c.meta(k, "ma "+written+line, nil, func(r *metaReply) error {
		e := c.model[k]
		if c.scarce && strings.HasPrefix(r.word, "SERVER_ERROR ") {
			e.unsure = true
			return nil
		}
		present, absent := c.possible(e)
		n, result, number := arith(e.value, delta, decr)
		switch {
		case r.word == nonNumeric && present && !number:
			return nil
		case r.word == "NF" && !vivify:
			return c.seen(k, e, false)
		case r.word != "VA":
			return fmt.Errorf("key %s: found %.200q (%v)", k, r.word, e)
		case vivify && absent && string(r.value) == strconv.FormatUint(initial, 10):
			*e = entry{exists: true, value: r.value, early: c.sent.Add(time.Minute), exp: time.Now().Add(time.Minute), label: c.newLabel()}
			return nil
		case present && number && string(r.value) == strconv.FormatUint(n, 10):
			e.value, e.cas = result, 0
			return c.seen(k, e, true)
		}
		return fmt.Errorf("key %s, value %.60q: delta %d, decr %v, initial %d (%v): found %.60q (%v)", k, e.value, delta, decr, initial, vivify, r.value, e)
	})
}
