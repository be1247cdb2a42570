package mac

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fullDisk takes room bytes, and no more until it is given more.
type fullDisk struct {
	mu   sync.Mutex
	b    bytes.Buffer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.b.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left")
	}
	return n, nil
}

func (d *fullDisk) give(room int) {
	d.mu.Lock()
	d.room = room
	d.mu.Unlock()
}

func (d *fullDisk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}

// TestAuditLogFullForAWhile: after a disk was full the log goes on in lines of their own,
// and says how many records are missing; that it failed, and that it goes on, is said each time.
func TestAuditLogFullForAWhile(t *testing.T) {
	disk := &fullDisk{room: 10}
	var said text
	m := open(t, Config{AuditWriter: disk, Log: slog.New(slog.NewTextHandler(&said, nil))})
	logged := func(want string, times int) {
		t.Helper()
		if n := strings.Count(said.String(), want); n != times {
			t.Errorf("%q: expected %d times, found %d in\n%s", want, times, n, said.String())
		}
	}
	for range 3 { // the first leaves a torn line
		m.Audit(record("lost", nil))
		m.SyncAudit()
	}
	logged("cannot be written", 1)
	disk.give(1 << 20)
	m.Audit(record("kept", nil))
	m.SyncAudit()
	logged("written again", 1)
	lines := strings.Split(strings.TrimSuffix(disk.text(), "\n"), "\n")
	if len(lines) != 3 || len(lines[0]) != 10 || !strings.Contains(lines[1], `key="kept"`) || !strings.Contains(lines[2], "suppressed 3 records") {
		t.Errorf("expected a torn line, the record and what is missing, found\n%s", disk.text())
	}
	if lost, total := m.audit.lost.Load(), m.audit.total.Load(); lost != 3 || total != 1 {
		t.Errorf("expected 3 records counted as lost and 1 as written, found %d and %d", lost, total)
	}
	disk.give(0)
	m.Audit(record("lost", nil))
	m.SyncAudit()
	logged("cannot be written", 2)
}

// TestAuditLogThatCannotBeReopened: the log goes on in the old file, and each time that is
// said.
func TestAuditLogThatCannotBeReopened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var said text
	m := open(t, Config{AuditLog: filepath.Join(dir, "audit"), Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m.audit.reopen()
		m.Audit(record("k", nil))
		m.SyncAudit()
	}
	if n := strings.Count(said.String(), "goes on in the old file"); n != 2 {
		t.Errorf("expected 2 complaints, found %d in\n%s", n, said.String())
	}
	b, err := os.ReadFile(filepath.Join(dir+".away", "audit"))
	if err != nil || strings.Count(string(b), `key="k"`) != 2 {
		t.Errorf("the old file: %v, %s", err, b)
	}
}

// TestAuditLogReopened: a log that was not rotated is not opened again, since the server may have
// become a user who cannot.
func TestAuditLogReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	s := &writerSink{path: path}
	if err := s.reopen(); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	first := s.file
	if err := s.reopen(); err != nil || s.file != first {
		t.Errorf("not rotated: opened again, %v", err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.reopen(); err != nil || s.file == first {
		t.Errorf("rotated: not opened again, %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
