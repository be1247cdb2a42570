package server_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sememcached/server"
)

// fullDisk takes room bytes, and no more until it is given more.
type fullDisk struct {
	mu       sync.Mutex
	b        bytes.Buffer
	room     int
	failures int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.b.Write(p[:n])
	if n < len(p) {
		d.failures++
		return n, errors.New("no space left")
	}
	return n, nil
}

func (d *fullDisk) state() (text string, failures int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String(), d.failures
}

// TestAccessLogFullForAWhile: after a disk was full the log goes on, in lines of their
// own, and says how many are missing.
func TestAccessLogFullForAWhile(t *testing.T) {
	r := start(t, plan{set: server.Settings{AccessLog: server.AccessLog{File: filepath.Join(t.TempDir(), "access"), All: true}}})
	disk := &fullDisk{room: 10}
	r.srv.AccessLogTo(disk)
	c := r.dial()
	for i := range 3 { // the first leaves a torn line
		c.ask("get lost\r\n", "END\r\n")
		until(t, "the write to fail", func() bool { _, n := disk.state(); return n > i })
	}
	disk.mu.Lock()
	disk.room = 1 << 20
	disk.mu.Unlock()
	c.ask("get kept\r\n", "END\r\n")
	until(t, "the log to go on", func() bool { return strings.Contains(r.log.String(), "written again") })
	text, _ := disk.state()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 3 || len(lines[0]) != 10 || !strings.Contains(text, `"kept"`) || !strings.Contains(text, "{\"suppressed\":3}\n") {
		t.Errorf("expected a torn line, the request and 3 suppressed, found\n%s", text)
	}
	if n := strings.Count(r.log.String(), "lines are lost"); n != 1 {
		t.Errorf("expected 1 complaint, found %d in\n%s", n, r.log.String())
	}
}
