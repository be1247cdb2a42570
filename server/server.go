package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// Server serves one engine on any number of listeners. New makes it, Listen
// opens its sockets, Serve runs it. Methods may be called from any goroutine.
type Server struct {
	eng     engine.Interface
	mon     *mac.Monitor
	set     Settings
	log     *slog.Logger
	limits  protocol.Limits
	version string // the reply to version
	ruled   bool   // there are key rules
	compat  bool   // they are judged as Cilium did
	gated   bool   // there are key rules, or an access log
	access  *accessLog
	started time.Time
	verbose *verbose

	loops    []*loop
	acceptor *acceptor
	conns    atomic.Int64 // open now
	rejected atomic.Uint64
	full     fullness
	auth     *authService // nil: nobody authenticates

	dialect dialect // -B
	knobs   *knobs
	detail  detail
	hub     hub
	tls     *tlsService // nil: off

	// helpers is held, for reading, by goroutines that look at the store for a
	// connection; Serve returns when there are none.
	helpers sync.RWMutex
	ended   bool // +checklocks:helpers
	crawler *engine.Crawler

	mu sync.Mutex
	// +checklocks:mu
	listeners []*listener
	// +checklocks:mu
	udp []*udpSocket
	// +checklocks:mu
	stop int // as loop.stop
	// +checklocks:mu
	serving bool
	// +checklocks:mu
	base    loopCounters  // what "stats reset" subtracts
	stopped chan struct{} // closed by the first Shutdown
	roster  roster
	// asked is who gave the shutdown command, if anybody did: a loop leaves it, Serve
	// logs it.
	asked atomic.Pointer[string]
}

// New returns a server for the engine. mon may be nil or say that access
// control is off: the mac commands are unknown then. Nothing is opened yet.
func New(eng engine.Interface, mon *mac.Monitor, s *Settings, log *slog.Logger) (*Server, error) {
	if eng == nil || s == nil || log == nil {
		return nil, errors.New("server: engine, settings and logger are required")
	}
	set := s.withDefaults()
	switch {
	case set.Threads < 0:
		return nil, fmt.Errorf("server: expected at least 1 thread, found %d", set.Threads)
	case set.MaxConns < 0:
		return nil, fmt.Errorf("server: expected at least 1 connection, found %d", set.MaxConns)
	case set.ReqsPerEvent < 0:
		return nil, fmt.Errorf("server: expected at least 1 request per event, found %d", set.ReqsPerEvent)
	case set.Port < -1 || set.Port > 65535:
		return nil, fmt.Errorf("server: expected a TCP port up to 65535, 0 or -1, found %d", set.Port)
	}
	speaks, err := parseDialect(set.Protocol)
	if err != nil {
		return nil, err
	}
	srv := &Server{
		dialect: speaks,
		eng:     eng, mon: mon, set: set, log: log,
		limits:  protocol.Limits{NoMac: mon == nil || !mon.Enabled(), Meta: true},
		version: string(protocol.AppendVersion(nil, set.Version)),
		started: time.Now(),
		stopped: make(chan struct{}),
	}
	if set.TLS.Enabled {
		if srv.tls, err = newTLSService(set.TLS); err != nil {
			return nil, err
		}
		srv.tls.warn(log)
	}
	srv.verbose = newVerbose(set.Verbosity)
	if srv.auth, err = newAuthService(srv, &set); err != nil {
		return nil, err
	}
	if srv.auth != nil {
		srv.auth.users.Load().warn(log)
	}
	if srv.auth != nil && speaks == negotiating {
		srv.dialect = srv.auth.dialect()
	}
	srv.knobs = newKnobs(set.Tuning)
	srv.detail.start(set.PrefixDelimiter)
	srv.crawler = eng.NewCrawler()
	srv.crawler.OnPass(srv.hub.crawled)
	srv.crawler.SetPause(set.Tuning.CrawlerSleep)
	srv.hub.srv = srv
	if mon != nil && mon.HasKeyRules() {
		srv.ruled, srv.compat = true, mon.KeyRulesMode() == cnp.Cilium
	}
	if set.AccessLog.File != "" {
		if srv.access, err = openAccessLog(&set.AccessLog, log); err != nil {
			return nil, fmt.Errorf("server: access log: %w", err)
		}
	}
	srv.gated = srv.ruled || srv.access != nil
	srv.hub.detail(srv.detail.on.Load())
	return srv, nil
}

// Listen opens the sockets that the settings name and starts listening, so that
// privileges can be dropped before Serve. On an error nothing stays open.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners != nil {
		return errors.New("server: listens already")
	}
	so, err := openAll(&s.set, s.mon != nil && s.mon.KernelLabels())
	if err != nil {
		return err
	}
	ls, us := so.ls, so.us
	for _, l := range ls {
		l.tls = l.tls.decided(s.tls != nil && !l.unix())
		if l.dialect == negotiating {
			l.dialect = s.dialect
		}
		if err := s.auth.checkDialect(l); err != nil {
			so.close()
			return err
		}
	}
	for _, u := range us {
		u.dialect = s.dialect
	}
	if err := writePortFile(s.set.PortFile, ls, us); err != nil {
		s.log.Warn("the ports are not written, as MEMCACHED_PORT_FILENAME asks for: expected a file that can be written", "error", err)
	}
	s.listeners, s.udp = ls, us
	return nil
}

// Addrs are the addresses that are listened on, in the order of the settings,
// with the ports that the kernel has chosen.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var as []net.Addr
	for _, l := range s.listeners {
		as = append(as, l.addr)
	}
	return as
}

// Serve accepts and serves connections until Shutdown is called or ctx is
// cancelled, which is a Shutdown without grace. It raises GOMAXPROCS to the
// number of loops and two, since a waiting loop keeps its P, and with TLS by the
// threads for handshakes. When it returns,
// all connections and listeners are closed, and UNIX sockets removed.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.serving || s.listeners == nil {
		s.mu.Unlock()
		return errors.New("server: Serve needs one Listen before it and is called once")
	}
	s.serving = true
	ls, us := s.listeners, s.udp
	s.mu.Unlock()
	s.verbose.start(os.Stderr)
	defer s.verbose.close()
	if s.set.Tuning.Crawler {
		s.crawler.Start()
	}
	defer s.crawler.Close()

	handshakers := 0
	if s.tls != nil {
		handshakers = handshakersFor(runtime.NumCPU())
	}
	procs := s.set.Threads + 2 + handshakers
	if runtime.GOMAXPROCS(0) < procs {
		runtime.GOMAXPROCS(procs)
	}
	loops := make([]*loop, 0, s.set.Threads)
	for range s.set.Threads {
		l, err := newLoop(s)
		if err != nil {
			releaseAll(loops)
			closeAll(ls)
			return fmt.Errorf("server: event loop: %w", err)
		}
		loops = append(loops, l)
	}
	defer closeUDP(us)
	for i, u := range us {
		if err := loops[i%len(loops)].serveUDP(u); err != nil {
			releaseAll(loops)
			closeAll(ls)
			return fmt.Errorf("server: event loop: %w", err)
		}
	}
	acc, err := newAcceptor(s, ls, loops)
	if err != nil {
		releaseAll(loops)
		closeAll(ls)
		return fmt.Errorf("server: acceptor: %w", err)
	}
	stopHandshakes := func() {}
	s.roster.open(len(loops) + handshakers + s.auth.threads())
	if s.tls != nil {
		if acc.hands, stopHandshakes, err = s.startHandshakers(handshakers, loops); err != nil {
			releaseAll(loops)
			closeAll(ls)
			return fmt.Errorf("server: TLS: %w", err)
		}
		watching, ended := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() { s.watchCerts(watching) })
		defer func() {
			ended()
			watch.Wait()
		}()
	}
	s.mu.Lock()
	s.loops, s.acceptor = loops, acc
	s.mu.Unlock()

	s.auth.start()
	defer s.auth.stop()
	var group sync.WaitGroup
	for _, l := range loops {
		group.Go(l.serve)
	}
	if s.set.PreferLoops {
		s.roster.preferLoops()
	}
	accepting := make(chan struct{})
	go func() {
		acc.serve()
		close(accepting)
	}()
	select {
	case <-ctx.Done():
		s.Shutdown(false)
	case <-s.stopped:
	}
	if who := s.asked.Load(); who != nil {
		s.log.Info("shutdown by command", "client", *who)
	}
	acc.halt()
	<-accepting
	closeAll(ls)
	stopHandshakes()
	cancel := context.AfterFunc(ctx, func() { s.Shutdown(false) })
	defer cancel()
	s.haltLoops()
	group.Wait()
	s.hub.close()
	s.access.close()
	s.helpers.Lock()
	s.ended = true
	s.helpers.Unlock()
	return nil
}

// helper is fn for a helper goroutine: it is not run when Serve has ended, and
// Serve does not end while it runs.
func (s *Server) helper(fn func()) func() {
	return func() {
		s.helpers.RLock()
		defer s.helpers.RUnlock()
		if !s.ended {
			fn()
		}
	}
}

// Shutdown makes Serve return. With graceful, no connection is accepted any
// more, but what has been received is answered first, for at most 5 seconds.
// A later call without grace hastens an earlier one with it.
func (s *Server) Shutdown(graceful bool) {
	how := stopping
	if graceful {
		how = draining
	}
	s.mu.Lock()
	first := s.stop == running
	s.stop = max(s.stop, how)
	s.mu.Unlock()
	if first {
		close(s.stopped)
		return
	}
	s.haltLoops()
}

// haltLoops tells the loops how to stop, once the acceptor has stopped.
func (s *Server) haltLoops() {
	s.mu.Lock()
	how, loops := s.stop, s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.halt(how)
	}
}
