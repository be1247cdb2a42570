package differ

import "time"

// A delayed flush is compared now and then, by itself: until it is due nothing
// that it might touch can be asked for.
const (
	delayedFirst = 15 * time.Second
	delayedEvery = 90 * time.Second
	delay        = 3 // seconds
)

// delayed flushes both servers with a delay, and looks before and after.
func (r *run) delayed() error {
	if err := r.flush(); err != nil {
		return err
	}
	order := "flush_all 3\r\n"
	if r.rng.IntN(3) == 0 {
		order = "flush_all 3 noreply\r\n"
	}
	for _, step := range []struct {
		wait time.Duration
		send string
	}{
		{0, "set a 0 0 1\r\n1\r\nset b 0 100 1\r\n2\r\n" + order + "get a b\r\n"},
		// memcached flushes what was stored up to the second before.
		{0, "set c 0 0 1\r\n3\r\nget a b c\r\n"},
		{delay*time.Second + clocks + time.Second, "get a b\r\nadd a 0 0 1\r\n4\r\ngets a\r\n"},
		{time.Second, "get a b\r\n"},
	} {
		time.Sleep(step.wait)
		b := &batch{}
		b.put(step.send)
		if err := r.compare(b, false); err != nil {
			return err
		}
	}
	r.counts.Delayed++
	return r.flush()
}
