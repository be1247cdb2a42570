package engine

import (
	"bytes"
	"encoding/json"
	"strconv"

	"sememcached/avc"
	"sememcached/policy"
)

// explanation is what a helper goroutine finds out for a parked Explain.
type explanation struct{ text []byte }

// Explain implements Interface: why the client holds, or does not hold, the
// permissions named by Call.Context on the item, for a client with kv_server
// config; nothing on the item itself is needed. Call.Text is
//
//	EXPLAIN <key> <bytes>\r\n<that many bytes of text, in lines that end in \n>\r\nEND
//
// where the text is policy.Explanation.String, or, if the last word of
// Call.Context is json, its form as JSON. The reasons are those of the generation in
// force when the item was found, or of a newer one.
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
	text := c.retry.explain.text
	c.retry.explain = nil
	c.Text = append(append(c.Text[:0], "EXPLAIN "...), c.Key...)
	c.Text = strconv.AppendInt(append(c.Text, ' '), int64(len(text)), 10)
	c.Text = append(append(append(c.Text, "\r\n"...), text...), "\r\nEND"...)
	return OK
}

// explained writes an explanation for people or for programs.
func explained(x policy.Explanation, asJSON bool) []byte {
	if !asJSON {
		return []byte(x.String())
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(x) // plain values, into memory
	return b.Bytes()
}

// startExplain judges, finds the item's label, and has the rest done elsewhere.
func (e *Secured) startExplain(w *Worker, c *Call) Status {
	perms, asJSON := bytes.CutSuffix(c.Context, []byte(" json"))
	need := itemPerms(perms)
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
		x.text = explained(e.mon.Explain(g, source, label, avc.ClassItem, need), asJSON)
	})
}
