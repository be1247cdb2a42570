package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// opForeign reads a key that another tenant may have: never a hit.
func (c *client) opForeign() op {
	id := 4 + c.rng.IntN(max(1, c.w.conns-4))
	if (id%4 == 3) != c.scarce || tenantOf(id) == c.tenant || c.tenant == admin {
		return c.opPlain()
	}
	key := fmt.Sprintf("t%d/%d/%d", tenantOf(id), id, c.rng.IntN(keysEach))
	verb := []string{"get " + key, "gat 0 " + key, "delete " + key, "incr " + key + " 1", "touch " + key + " 0"}[c.rng.IntN(5)]
	return op{wire: []byte(verb + "\r\n"), check: func() error {
		c.w.counts.denied.Add(1)
		_, err := c.want(map[bool]string{true: "END", false: "NOT_FOUND"}[strings.HasPrefix(verb, "g")])
		return err
	}}
}

// opStats asks for statistics: a list, or a refusal.
func (c *client) opStats() op {
	kind := []string{"", " settings", " items", " slabs", " mac", " labels"}[c.rng.IntN(6)]
	return op{wire: []byte("stats" + kind + "\r\n"), check: func() error {
		for n := 0; ; n++ {
			switch s, err := c.line(); {
			case err != nil:
				return err
			case s == "END":
				return nil
			case n == 0 && s == denied && kind == " mac" && c.tenant != admin:
				return nil
			case !strings.HasPrefix(s, "STAT "):
				return fmt.Errorf("expected STAT or END, found %.200q", s)
			}
		}
	}}
}

// opMac is one of the commands about labels.
func (c *client) opMac(k string) op {
	switch c.rng.IntN(5) {
	case 0:
		return op{wire: []byte("mac whoami\r\n"), check: func() error {
			_, err := c.want("MAC " + contextOf(c.tenant))
			return err
		}}
	case 1:
		return op{wire: []byte("mac label " + k + "\r\n"), check: func() error { return c.checkLabel(k) }}
	case 2:
		return op{wire: []byte("mac check " + k + " read write\r\n"), check: func() error {
			s, err := c.line()
			if err != nil {
				return err
			}
			return c.seen(k, c.model[k], s != "NOT_FOUND")
		}}
	case 3:
		return c.opCreate()
	}
	if c.tenant == admin {
		return c.opRelabel(k)
	}
	return c.opPlain()
}

func (c *client) checkLabel(k string) error {
	e := c.model[k]
	s, err := c.line()
	if err != nil {
		return err
	}
	if err := c.seen(k, e, s != "NOT_FOUND"); err != nil || s == "NOT_FOUND" {
		return err
	}
	label, ok := strings.CutPrefix(s, "LABEL "+k+" ")
	if !ok || e.label != "" && label != e.label {
		return fmt.Errorf("key %s: expected label %q, found %.300q", k, e.label, s)
	}
	e.label = label
	return nil
}

// opCreate changes the label of the items that this connection makes.
func (c *client) opCreate() op {
	context := ""
	if c.rng.IntN(2) == 0 {
		context = strings.Replace(labelOf(c.tenant), "kv_item_t", "kv_session_t", 1)
	}
	arg := context
	if arg == "" {
		arg = "-"
	}
	return op{wire: []byte("mac create " + arg + "\r\n"), check: func() error {
		_, err := c.want("OK")
		c.create = context
		return err
	}}
}

// opRelabel gives an item a label that nobody else has.
func (c *client) opRelabel(k string) op {
	a := c.rng.IntN(1000)
	label := fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d,c%d", a, a+2+c.rng.IntN(20))
	return op{wire: []byte("mac relabel " + k + " " + label + "\r\n"), key: k, check: func() error {
		e := c.model[k]
		s, err := c.line()
		if err != nil {
			return err
		}
		switch {
		case s == denied && c.numbersShort() || c.scarce && strings.HasPrefix(s, outOfMemory):
			c.w.counts.full.Add(1)
			return nil
		case s != "RELABELED" && s != "NOT_FOUND":
			return fmt.Errorf("key %s: expected RELABELED or NOT_FOUND, found %.200q", k, s)
		}
		if err := c.seen(k, e, s == "RELABELED"); err != nil || s == "NOT_FOUND" {
			return err
		}
		e.label, e.cas = label, 0
		c.w.counts.labels.Add(1)
		return nil
	}}
}

// numbersShort says whether a denial can be for want of a number for a new label.
// All others are failures: the administrator may do everything.
func (c *client) numbersShort() (short bool) {
	c.server.Monitor.Stats(func(name, value string) {
		if n, err := strconv.Atoi(value); err == nil && name == "mac_sids" {
			short = n >= maxLabels*3/4
		}
	})
	return short
}

// opPlain is a command that touches no item.
func (c *client) opPlain() op {
	switch c.rng.IntN(4) {
	case 0:
		return op{wire: []byte("version\r\n"), check: func() error {
			s, err := c.line()
			if err == nil && !strings.HasPrefix(s, "VERSION ") {
				err = fmt.Errorf("expected VERSION, found %.200q", s)
			}
			return err
		}}
	case 1:
		return op{wire: []byte("verbosity 0\r\n"), check: func() error {
			want := denied
			if c.tenant == admin {
				want = "OK"
			}
			_, err := c.want(want)
			return err
		}}
	case 2:
		return op{wire: []byte("no such command\r\n"), check: func() error {
			_, err := c.want("ERROR")
			return err
		}}
	}
	return c.opNoop()
}

// opNoop does nothing and is answered.
func (c *client) opNoop() op {
	if c.binary {
		return c.bin(binNoop, false, 0, nil, "", nil, "", func(f *frame) error {
			if f.status != binOK {
				return unexpected("", f, nil)
			}
			return nil
		})
	}
	return op{wire: []byte("mn\r\n"), check: func() error {
		_, err := c.want("MN")
		return err
	}}
}

// opBroken is input that no command fits. What exactly is answered is not looked
// at, only that nothing but errors comes and that the connection goes on.
func (c *client) opBroken() op {
	var wire []byte
	switch c.rng.IntN(5) {
	case 0:
		wire = fmt.Appendf(nil, "set bad/%d 0 0 5\r\nhello, too long\r\n", c.id)
	case 1:
		wire = []byte("get " + strings.Repeat("k", 251) + "\r\n")
	case 2:
		wire = []byte("set k\r\n")
	case 3:
		wire = fmt.Appendf(nil, "set bad/%d 0 0 -3\r\n", c.id)
	default:
		wire = bytes.Map(func(r rune) rune { return ' ' + r%90 }, randomBytes(c.rng, 1+c.rng.IntN(100)))
		wire = append([]byte("?"), append(wire, '\r', '\n')...)
	}
	return op{wire: append(wire, "mn\r\n"...), check: func() error {
		c.w.counts.broken.Add(1)
		for {
			switch s, err := c.line(); {
			case err != nil:
				return err
			case s == "MN":
				return nil
			case s == "": // memcached ends some of its errors twice
			case s != "ERROR" && !strings.HasPrefix(s, "CLIENT_ERROR ") && !strings.HasPrefix(s, "SERVER_ERROR "):
				return fmt.Errorf("expected an error, found %.200q", s)
			}
		}
	}}
}

// opTooLarge stores more than an item can hold: the old value goes.
func (c *client) opTooLarge(k string) op {
	const n = 1200 << 10
	wire := append(fmt.Appendf(nil, "set %s 0 0 %d\r\n", k, n), make([]byte, n)...)
	return op{wire: append(wire, '\r', '\n'), key: k, check: func() error {
		*c.model[k] = entry{}
		_, err := c.want(tooLarge)
		return err
	}}
}

// opFlush empties what this tenant may remove: the items of this connection, the
// only one that the tenant has.
func (c *client) opFlush() op {
	quiet := c.rng.IntN(2) == 0
	return op{wire: []byte("flush_all" + noreply(quiet) + "\r\n"), check: func() error {
		c.w.counts.flushes.Add(1)
		for _, e := range c.model {
			*e = entry{}
		}
		if quiet {
			return nil
		}
		_, err := c.want("OK")
		return err
	}}
}
