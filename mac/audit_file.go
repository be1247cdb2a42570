package mac

import (
	"fmt"
	"io"
	"os"
	"time"
)

// writerSink writes lines as auditd does, a line a record, whole lines at a
// time. Records that could not be written are lost, and a line says how many as soon as
// one can be written again.
type writerSink struct {
	w      io.Writer
	path   string // "": w is given, and never closed
	file   *os.File
	buf    []byte
	serial uint64

	records uint64 // in buf
	dropped uint64 // records that were lost, until the auditor has counted them
	unsaid  uint64 // records that were lost and no line tells of
	torn    bool   // the last write ended within a line
}

func (s *writerSink) emit(t auditType, at time.Time, text []byte) error {
	s.line(t, at, text)
	s.records++
	if len(s.buf) > 32<<10 {
		return s.flush()
	}
	return nil
}

func (s *writerSink) line(t auditType, at time.Time, text []byte) {
	s.serial++
	s.buf = appendHeader(s.buf, t, at, s.serial)
	s.buf = append(append(s.buf, text...), '\n')
}

func (s *writerSink) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	if s.unsaid > 0 {
		s.line(auditUserAVC, time.Now(), fmt.Appendf(nil, "sememcached: suppressed %d records, which could not be written", s.unsaid))
	}
	if s.torn {
		s.buf = append([]byte{'\n'}, s.buf...)
	}
	n, err := s.w.Write(s.buf)
	if err == nil {
		s.torn, s.unsaid = false, 0
	} else {
		s.torn = n > 0 && s.buf[n-1] != '\n' || n == 0 && s.torn
		s.dropped += s.records
		s.unsaid += s.records
	}
	s.buf, s.records = s.buf[:0], 0
	return err
}

func (s *writerSink) reopen() error {
	if s.path == "" {
		return nil
	}
	flushed := s.flush()
	if s.inPlace() {
		return flushed
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file, s.w, s.torn = f, f, false
	return flushed
}

// inPlace reports whether the file still has its name. Then there is nothing to open: the
// user that the server has become might not be able to.
func (s *writerSink) inPlace() bool {
	if s.file == nil {
		return false
	}
	has, err1 := s.file.Stat()
	wants, err2 := os.Stat(s.path)
	return err1 == nil && err2 == nil && os.SameFile(has, wants)
}

func (s *writerSink) close() error {
	err := s.flush()
	if s.file != nil {
		if cerr := s.file.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
