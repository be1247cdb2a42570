package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/mac"
)

// authService authenticates clients: in the text protocol by the file of -Y, in
// the binary one by SASL (-S). It is nil where neither is on.
//
// An attempt is looked at by a verifier, a thread of lower priority than the
// loops; its connection is parked meanwhile. There are few verifiers, since an
// argon2id check takes as much memory as its line says, and the attempts that
// wait for them are bounded.
//
// # Subjects
//
// An attempt first makes the client one that is not authenticated; success gives
// it the identity sasl:NAME, for the requests after the reply. Either change is
// one of subject: the creation context of "mac create" is gone.
type authService struct {
	srv   *Server
	sasl  bool
	file  string
	users atomic.Pointer[users]
	limit limiter
	queue chan *login
	ended atomic.Bool // what still waits is not looked at
	done  sync.WaitGroup

	reading sync.Mutex
	refused *fileID // +checklocks:reading; of the last change that could not be used

	cmds, errors atomic.Uint64
}

const (
	verifiers   = 2
	loginQueue  = 1024
	maxUserName = 255
)

// login is one attempt. The loop makes it and reads what came of it, a verifier
// looks at it in between.
type login struct {
	loop   *loop
	tag    uint64
	peer   *mac.Peer // its socket is not looked at
	user   []byte
	secret []byte
	over   atomic.Bool // ok is valid
	ok     bool

	opcode uint8 // binary: of the request, for the reply
	opaque uint32
}

// CheckAuth reads the file of users that the settings name, as New does: the
// error is the one that New would have. What New would warn of goes to log.
func CheckAuth(set *Settings, log *slog.Logger) error {
	a, err := newAuthService(nil, set)
	if a != nil && err == nil {
		a.users.Load().warn(log)
	}
	return err
}

// newAuthService reads the file. It returns nil where clients are not
// authenticated.
func newAuthService(s *Server, set *Settings) (*authService, error) {
	a := &authService{srv: s, sasl: set.SASL, file: set.AuthFile}
	switch {
	case set.SASL && set.AuthFile != "":
		return nil, errors.New("server: expected SASL or an auth file, found both")
	case set.SASL:
		if a.file = set.SASLUsers; a.file == "" {
			return nil, errors.New("Error initializing sasl: expected a file of users in the environment variable MEMCACHED_SASL_PWDB, found none") //nolint:staticcheck // memcached's text
		}
	case set.AuthFile == "":
		return nil, nil
	}
	if set.UDPPort != 0 {
		return nil, errors.New("server: expected no UDP where clients authenticate")
	}
	key, err := newLoginKey()
	if err != nil {
		return nil, err
	}
	u, err := readUsers(a.file, a.sasl, key)
	if err != nil {
		return nil, err
	}
	a.users.Store(u)
	a.limit.burst, a.limit.rate = failureBurst, failureRate
	a.queue = make(chan *login, loginQueue)
	return a, nil
}

// NewUsers reads the file of users again, and returns what puts them in force, or
// nil where there are none: so that several files can be changed together. On an error the
// old users stay. Who is authenticated already stays so, as in memcached.
func (s *Server) NewUsers() (adopt func(), err error) {
	if s.auth == nil {
		return nil, nil
	}
	u, err := readUsers(s.auth.file, s.auth.sasl, s.auth.users.Load().secret)
	if err != nil {
		return nil, err
	}
	return func() {
		s.auth.users.Store(u)
		u.warn(s.log)
	}, nil
}

// threads is how many start starts.
func (a *authService) threads() int {
	if a == nil {
		return 0
	}
	return verifiers
}

// start starts the verifiers.
func (a *authService) start() {
	if a == nil {
		return
	}
	for range verifiers {
		a.done.Go(a.verify)
	}
}

// stop ends them; no loop runs any more.
func (a *authService) stop() {
	if a == nil {
		return
	}
	a.ended.Store(true)
	close(a.queue)
	a.done.Wait()
}

// verify looks at attempts until stop. Its thread, whose priority is its own,
// ends with it.
func (a *authService) verify() {
	runtime.LockOSThread()
	a.srv.roster.enterNicer(ordinaryNice)
	for g := range a.queue {
		if a.ended.Load() {
			continue
		}
		a.judge(g)
		g.loop.loggedIn(g)
	}
}

// judge decides an attempt.
func (a *authService) judge(g *login) {
	why := ""
	switch source := sourceOf(g.peer); {
	case !a.limit.take(source, time.Now()):
		why = "too-many-failures"
	case len(g.user) > maxUserName || !a.current().verify(string(g.user), string(g.secret)):
		why = "wrong-user-or-password"
	default:
		a.limit.give(source)
	}
	clear(g.secret)
	a.cmds.Add(1)
	if why != "" {
		a.fail(g.peer, g.user, why)
	}
	g.ok = why == ""
	g.over.Store(true)
}

// current is the users as the file has them now. With -S a change counts from the next
// attempt on, as in memcached, which reads the file at each; one that cannot be used is
// said once, and the old users stay. With -Y it waits for SIGHUP, as in memcached.
func (a *authService) current() *users {
	u := a.users.Load()
	if !a.sasl {
		return u
	}
	id := identify(a.file)
	if id == u.id {
		return u
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	if u = a.users.Load(); id == u.id || a.refused != nil && id == *a.refused {
		return u
	}
	read, err := readUsers(a.file, a.sasl, u.secret)
	if err != nil {
		a.refused = &id
		a.srv.log.Error("the changed file of users is not used, the old users stay", "error", err)
		return u
	}
	a.users.Store(read)
	a.refused = nil
	a.srv.log.Info("the file of users has changed and is in use", "file", a.file)
	read.warn(a.srv.log)
	return read
}

// fail counts and reports a failure.
func (a *authService) fail(p *mac.Peer, user []byte, why string) {
	a.errors.Add(1)
	user = user[:min(len(user), maxUserName)]
	if a.srv.mon != nil && a.srv.mon.AuditLogin(p, user, why) {
		return
	}
	if a.srv.verbose.on() {
		a.srv.log.Warn("authentication failed", "user", fmt.Sprintf("%q", user), "source", sourceOf(p), "why", why)
	}
}

// loggedIn tells the loop that an attempt is over.
func (l *loop) loggedIn(g *login) {
	l.mu.Lock()
	l.logins = append(l.logins, g)
	l.mu.Unlock()
	l.wake()
}

// takeLogins goes on with the connections whose attempts are over.
func (l *loop) takeLogins(over []*login) {
	for _, g := range over {
		if c := l.slots.find(g.tag); c != nil && c.login == g && c.parked && c.phase == phaseLogin {
			l.unpark(g.tag)
		}
	}
}

// attempt begins an authentication: nothing of an earlier one is left. The
// connection goes on in phaseLogin.
func (l *loop) attempt(c *conn, user, secret []byte) {
	l.logOut(c)
	g := &login{loop: l, tag: c.tag(), peer: c.client.Peer, user: bytes.Clone(user), secret: bytes.Clone(secret)}
	if c.dialect == speaksBinary {
		g.opcode, g.opaque = l.req.Binary.Opcode, l.req.Binary.Opaque
	}
	c.login, c.phase = g, phaseLogin
	select {
	case l.srv.auth.queue <- g:
	default:
		l.srv.auth.cmds.Add(1)
		l.srv.auth.fail(g.peer, g.user, "too many attempts at a time")
		g.over.Store(true)
	}
}

// logOut makes the client one that is not authenticated.
func (l *loop) logOut(c *conn) {
	c.locked = true
	if p := c.client.Peer; slices.ContainsFunc(p.Extra, isLogin) {
		q := *p
		q.Extra = slices.DeleteFunc(slices.Clone(p.Extra), isLogin)
		p = &q
		l.eng.Become(&c.client, p)
	}
}

// logIn gives the client the user's identity.
func (l *loop) logIn(c *conn, user string) {
	p := *c.client.Peer
	p.Extra = append(slices.Clip(p.Extra), mac.Identity{Kind: mac.KindSASL, Value: user})
	l.eng.Become(&c.client, &p)
	c.locked = false
}

func isLogin(id mac.Identity) bool { return id.Kind == mac.KindSASL }

// finishLogin answers an attempt that is over.
func (l *loop) finishLogin(c *conn) outcome {
	g := c.login
	if !g.over.Load() {
		return park
	}
	c.login, c.phase = nil, phaseCommand
	if g.ok {
		l.logIn(c, string(g.user))
	}
	return l.answerLogin(c, g)
}

// usersFile is where SASL's users are, as memcached's --enable-sasl-pwdb has it.
const usersFile = "MEMCACHED_SASL_PWDB"

// SASLUsersFromEnv is the file of users that the environment names.
//
// It is absolute: a daemon leaves the directory it was started in, and reads the file again.
func SASLUsersFromEnv() string {
	file := os.Getenv(usersFile)
	if abs, err := filepath.Abs(file); err == nil && file != "" {
		return abs
	}
	return file
}
