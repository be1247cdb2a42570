package engine

import (
	"bufio"
	"bytes"
	"fmt"
)

// restorePending lists the delayed flushes of the file again: "<issued> <due>
// <context>" a line, seconds on the store's clock. Whether they are allowed is decided
// when they are due, as always; whose connection it was is not known any more.
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
		d.eng.flushes.add(&f)
		d.eng.mon.SIDs().Release(s) // the list holds it
	}
}
