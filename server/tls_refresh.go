package server

import (
	"context"
	"time"

	"sememcached/engine"
	"sememcached/protocol"
)

// Certificates and authorities are read again when somebody asks (refresh_certs,
// SIGHUP) and when a file has changed. What was read is used for new handshakes,
// all of it or nothing; sessions from before are not resumed, since a new state has
// new ticket keys; and the client certificates of open connections are verified
// again, by the new authorities and the clock of now. A connection whose
// certificate is not trusted any more is closed: a new handshake would fail too.

// watchFilesEvery is how often the files are looked at.
const watchFilesEvery = 2 * time.Second

// stat looks at the files of the settings; one that cannot be seen is zero.
func (t *tlsService) stat() (ids [3]fileID) {
	for i, name := range [...]string{t.set.ChainCert, t.set.Key, t.set.CACert} {
		if name == "" {
			continue
		}
		ids[i] = identify(name)
	}
	return ids
}

// RefreshCerts reads the certificates, the key and the authorities of clients
// again, as the command refresh_certs does. On an error everything stays as it
// was. Without TLS it is an error, in memcached's words.
func (s *Server) RefreshCerts() error {
	t := s.tls
	if t == nil {
		return TLSError("Error TLS not enabled")
	}
	t.refreshing.Lock()
	defer t.refreshing.Unlock()
	return s.refreshCertsLocked()
}

// Preconditions: tls.refreshing is held.
func (s *Server) refreshCertsLocked() error {
	t := s.tls
	t.files = t.stat() // before they are read: what changes meanwhile is read next time
	st, err := t.load()
	if err != nil {
		return err
	}
	t.current.Store(st)
	t.warn(s.log)
	if n := s.recheck(st); n > 0 {
		s.log.Info("closed connections whose client certificates are not trusted any more", "connections", n)
	}
	return nil
}

// watchCerts refreshes when a file has changed, until ctx ends.
func (s *Server) watchCerts(ctx context.Context) {
	tick := time.NewTicker(watchFilesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.refreshChanged()
	}
}

// changed says whether a file is not what it was at the last refresh, and has stayed
// the same since changed was called last: a file that is written in several steps is
// not read after half of them, when all blocks in it may be whole.
//
// Preconditions: refreshing is held.
func (t *tlsService) changed() bool {
	seen := t.stat()
	settled := seen == t.seen
	t.seen = seen
	return settled && seen != t.files
}

// refreshChanged refreshes if a file has changed. A new certificate whose key has not
// been written yet is an error that is said once; the key's arrival is the next change.
func (s *Server) refreshChanged() {
	t := s.tls
	t.refreshing.Lock()
	defer t.refreshing.Unlock()
	if !t.changed() {
		return
	}
	if err := s.refreshCertsLocked(); err != nil {
		s.log.Error("changed TLS files are not used, the old ones stay", "error", err)
	} else {
		s.log.Info("TLS files have changed and are in use")
	}
}

// recheck verifies the clients of all open connections by st, and has those closed
// whose certificates it does not trust. It returns their number. Verifying takes
// long: it is done here, not on the loops.
func (s *Server) recheck(st *tlsState) (untrusted int) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	type client struct {
		tag uint64
		s   *stream
	}
	verdicts := map[string]error{} // by all that the client has sent: the verdict may rest on any of it
	var sent []byte
	for _, l := range loops {
		var clients []client
		l.worker.Inspect(nil, func() {
			for _, c := range l.slots.conns {
				if c != nil && c.stream != nil && c.stream.chain != nil && c.stream.state != st {
					clients = append(clients, client{c.tag(), c.stream})
				}
			}
		})
		var expelled []uint64
		for _, c := range clients {
			sent = sent[:0]
			for _, cert := range c.s.chain {
				sent = append(sent, cert.Raw...)
			}
			err, known := verdicts[string(sent)]
			if !known {
				err = st.trusts(c.s.chain, s.tls.now())
				verdicts[string(sent)] = err
			}
			if err != nil {
				expelled = append(expelled, c.tag)
			}
		}
		if len(expelled) > 0 {
			untrusted += len(expelled)
			l.expel(expelled)
		}
	}
	return untrusted
}

// expel has the connections closed that the tags name, if they are there.
func (l *loop) expel(tags []uint64) {
	l.mu.Lock()
	l.expelled = append(l.expelled, tags...)
	l.mu.Unlock()
	l.wake()
}

// openStream gives a connection its TLS, after the handshake.
func (l *loop) openStream(c *conn, s *stream) {
	c.stream, s.conn = s, c
	// Whoever refreshes publishes the new state first and looks at the connections
	// then; this one may have been on its way. It is rare enough to verify here.
	if st := l.srv.tls.current.Load(); s.chain != nil && s.state != st && st.trusts(s.chain, l.srv.tls.now()) != nil {
		l.close(c)
		return
	}
	c.readable = true // the client's first request may have come with its last handshake message
	l.enqueue(c)
}

// refreshCerts serves refresh_certs [noreply]. Files are read by a helper.
func (l *loop) refreshCerts(c *conn, r *protocol.Request) outcome {
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	if l.srv.tls == nil {
		return l.answer(r, protocol.ReplyTLSOff)
	}
	if c.stage == stageAuthorized {
		c.stage = stageComputing
		j := new(statsJob)
		c.job = j
		fn := l.srv.helper(func() {
			if err := l.srv.RefreshCerts(); err != nil {
				j.text = append(append(j.text, err.Error()...), "\r\n"...)
			} else {
				j.text = append(j.text, protocol.ReplyOK...)
			}
		})
		if st := l.eng.Background(l.worker, &c.call, fn); st != engine.Pending {
			fn()
		} else {
			return park
		}
	} else if st := l.eng.Background(l.worker, &c.call, nil); st == engine.Pending {
		return park
	}
	text := string(c.job.text)
	c.job = nil
	return l.answer(r, text)
}
