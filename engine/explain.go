package engine

import (
	"strconv"

	"sememcached/avc"
)

// explanation is what a helper goroutine finds out for a parked Explain.
type explanation struct {
	text string
	err  error
}

// Explain implements Interface: why the client holds, or does not hold, the
// permissions named by Call.Context on the item, for a client with kv_server
// config; nothing on the item itself is needed. Call.Text is
//
//	EXPLAIN <key> <bytes>\r\n<that many bytes of text, in lines that end in \n>\r\nEND
//
// The reasons are those of the generation in force when the item was found.
// Where a kernel decides the text says so.
func (e *Secured) Explain(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	if !c.Delayed() {
		return e.startExplain(w, c)
	}
	if st := e.Background(w, c, nil); st != OK {
		return st
	}
	x := c.retry.explain
	c.retry.explain = nil
	text := x.text
	if x.err != nil {
		text = x.err.Error() + "\n"
	}
	c.Text = append(append(c.Text[:0], "EXPLAIN "...), c.Key...)
	c.Text = strconv.AppendInt(append(c.Text, ' '), int64(len(text)), 10)
	c.Text = append(append(append(c.Text, "\r\n"...), text...), "\r\nEND"...)
	return OK
}

// startExplain judges, finds the item's label, and has the rest done elsewhere.
func (e *Secured) startExplain(w *Worker, c *Call) Status {
	need := itemPerms(c.Context)
	if need == 0 {
		return BadPerm
	}
	if st := e.Authorize(w, c); st != OK {
		return st
	}
	h := e.hash(c)
	g := w.enter(c)
	sh := e.store.Lock(h)
	it := w.find(sh, h, c.Key)
	if it.Nil() {
		sh.Unlock()
		return Miss
	}
	label := avc.SID(it.Label())
	sh.Unlock()
	x, source := &explanation{}, c.Client.ssid
	c.waiting().explain = x
	return e.Background(w, c, func() {
		x.text, x.err = e.mon.Explain(g, source, label, avc.ClassItem, need)
	})
}
