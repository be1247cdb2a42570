package engine

import (
	"bufio"
	"bytes"
	"fmt"
)

// restorePending lists the delayed flushes of the file again: "<issued> <due>
// <context>" a line, seconds on the store's clock. Whether they are allowed is decided
// when they are due, as always; whose connection it was is not known any more. They
// are executed from resumePending on.
func (d *Data) restorePending(text []byte) {
	sc := bufio.NewScanner(bytes.NewReader(text))
	for sc.Scan() {
		var f flush
		var ctx string
		if n, _ := fmt.Sscanf(sc.Text(), "%d %d %s", &f.issued, &f.due, &ctx); n < 2 {
			d.log.Error("data: expected a delayed flush, \"<issued> <due> <context>\"", "found", sc.Text())
			continue
		}
		s, _, err := d.eng.resolve(ctx)
		if err != nil {
			d.log.Error("data: a delayed flush is not executed", "context", ctx, "error", err)
			continue
		}
		f.ssid = s
		l := &d.eng.flushes
		l.mu.Lock()
		l.put(&f)
		l.mu.Unlock()
		d.eng.mon.SIDs().Release(s) // the list holds it
	}
}

// resumePending executes the flushes of the file that came due while nobody ran, and
// has the others wait for their time.
func (e *Secured) resumePending() {
	e.RunFlushes()
	l := &e.flushes
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.list {
		if !f.done {
			l.arm(f)
		}
	}
}
