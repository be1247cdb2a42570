package mac

import (
	"log/slog"
	"sync"
	"time"
)

// complaints limits what is logged of failures to decide: every different text
// once a second, and at most maxComplaints texts. What is left out is counted, and
// told of with the next one. A failure of one kind does not hide one of another.
type complaints struct {
	mu     sync.Mutex
	second int64               // +checklocks:mu UNIX time
	told   map[string]struct{} // +checklocks:mu texts of that second
	more   uint64              // +checklocks:mu not logged since the last one that was
}

const maxComplaints = 16

// admit reports whether text is to be logged in a second, and how many were not
// before it.
func (c *complaints) admit(second int64, text string) (ok bool, suppressed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if second != c.second || c.told == nil {
		c.second = second
		c.told = make(map[string]struct{}, maxComplaints)
	}
	if _, again := c.told[text]; again || len(c.told) == maxComplaints {
		c.more++
		return false, 0
	}
	c.told[text] = struct{}{}
	suppressed, c.more = c.more, 0
	return true, suppressed
}

// complain logs a failure to decide.
func (m *Monitor) complain(err error) {
	ok, suppressed := m.complaints.admit(time.Now().Unix(), err.Error())
	if !ok {
		return
	}
	args := []any{slog.Any("error", err)}
	if suppressed > 0 {
		args = append(args, slog.Uint64("suppressed", suppressed))
	}
	m.log.Error("mac: access could not be decided and is denied", args...)
}
