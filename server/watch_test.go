package server_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"sememcached/server"
	"sememcached/storage"
)

var (
	watchStamp = regexp.MustCompile(`ts=\d+\.\d+ gid=\d+ `)
	watchNums  = regexp.MustCompile(`(cfd|rport)=\d+`)
)

// line reads one line of a watcher, without what differs from run to run.
func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", s, err)
	}
	return watchNums.ReplaceAllString(watchStamp.ReplaceAllString(s, ""), "$1=N")
}

// TestWatch: what each command tells, in memcached's words.
func TestWatch(t *testing.T) {
	r := start(t, plan{})
	w := r.dial()
	w.ask("watch fetchers mutations deletions\r\n", "OK\r\n")
	c := r.dial()
	for _, x := range [][]string{
		{"get k\r\n", "END\r\n", "type=item_get key=k status=not_found clsid=0 cfd=N size=0"},
		{"set k 0 60 3\r\nabc\r\n", "STORED\r\n", "type=item_get key=k status=not_found clsid=0 cfd=N size=0", "type=item_store key=k status=stored cmd=set ttl=60 clsid=1 cfd=N size=3"},
		{"get k no\r\n", "VALUE k 0 3\r\nabc\r\nEND\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=3", "type=item_get key=no status=not_found clsid=0 cfd=N size=0"},
		{"touch k 0\r\n", "TOUCHED\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=3"},
		{"append k 0 5 1\r\nd\r\n", "STORED\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=3", "type=item_store key=k status=stored cmd=append ttl=0 clsid=1 cfd=N size=4"},
		{"replace none 0 0 50\r\n" + strings.Repeat("x", 50) + "\r\n", "NOT_STORED\r\n", "type=item_get key=none status=not_found clsid=0 cfd=N size=0", "type=item_store key=none status=not_stored cmd=replace ttl=0 clsid=2 cfd=N size=50"},
		{"ma n N0 J500\r\n", "HD\r\n", "type=item_get key=n status=not_found clsid=0 cfd=N size=0", "type=item_get key=n status=not_found clsid=0 cfd=N size=0", "type=item_store key=n status=stored cmd=add ttl=0 clsid=1 cfd=N size=3"},
		{"cas k 0 0 1 99\r\nx\r\n", "EXISTS\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=4", "type=item_store key=k status=exists cmd=cas ttl=0 clsid=1 cfd=N size=1"},
		{"add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=4", "type=item_store key=k status=not_stored cmd=add ttl=0 clsid=1 cfd=N size=1"},
		{"mg k v\r\n", "VA 4\r\nabcd\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=4"},
		{"ms a:b 1 ME T30\r\nx\r\n", "HD\r\n", "type=item_get key=a%3Ab status=not_found clsid=0 cfd=N size=0", "type=item_store key=a%3Ab status=stored cmd=add ttl=30 clsid=1 cfd=N size=1"},
		{"touch k 0\r\n", "TOUCHED\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=4"},
		{"delete k\r\n", "DELETED\r\n", "type=item_get key=k status=found clsid=1 cfd=N size=4", "type=deleted key=k cmd=delete clsid=1 size=4"},
		{"md a:b\r\n", "HD\r\n", "type=item_get key=a%3Ab status=found clsid=1 cfd=N size=1", "type=deleted key=a%3Ab cmd=md clsid=1 size=1"},
		{"set p:1 0 0 1\r\nx\r\n", "STORED\r\n", "type=item_get key=p%3A1 status=not_found clsid=0 cfd=N size=0", "type=item_store key=p%3A1 status=stored cmd=set ttl=0 clsid=1 cfd=N size=1"},
		{"mdp p:\r\n", "HD 1\r\n", "type=deleted key=p%3A1 cmd=mdp clsid=1 size=1"},
		{"incr k 1\r\n", "NOT_FOUND\r\n", "type=item_get key=k status=not_found clsid=0 cfd=N size=0"},
	} {
		c.ask(x[0], x[1])
		for _, want := range x[2:] {
			if got := w.line(); got != want+"\n" {
				t.Errorf("%q:\n got %q\nwant %q", x[0], got, want)
			}
		}
	}
	w.send("get k\r\nversion\r\n") // a watcher is not answered any more
	w.quiet()
	conns := r.dial()
	conns.ask("watch connevents\r\n", "OK\r\n")
	other := r.dial()
	other.ask("mn\r\n", "MN\r\n")
	if got := conns.line(); got != "type=conn_new rip=127.0.0.1 rport=N transport=tcp cfd=N\n" {
		t.Errorf("got %q", got)
	}
	other.Close()
	if got := conns.line(); got != "type=conn_close rip=127.0.0.1 rport=N transport=tcp reason=normal cfd=N\n" {
		t.Errorf("got %q", got)
	}
	// Whoever breaks the rules, or the connection, ends it with an error.
	for _, x := range []struct{ send, reason string }{
		{"quit\r\n", "normal"}, {"\x80\x07" + strings.Repeat("\x00", 22), "normal"}, {strings.Repeat("x", 3000), "error"}, {"GET / HTTP/1.1\r\n", "error"},
	} {
		other := r.dial()
		other.send(x.send)
		conns.line()
		if got, want := conns.line(), "type=conn_close rip=127.0.0.1 rport=N transport=tcp reason="+x.reason+" cfd=N\n"; got != want {
			t.Errorf("%.20q: got %q, want %q", x.send, got, want)
		}
	}
	if n := c.stat("", "log_watchers"); n != "2" {
		t.Errorf("log_watchers %s", n)
	}
	w.Close()
	until(t, "one watcher less", func() bool { return c.stat("", "log_watchers") == "1" })
}

// TestWatchSysevents: a pass of the crawler is told to those who may see the server.
func TestWatchSysevents(t *testing.T) {
	r := start(t, plan{})
	w, c := r.dial(), r.dial()
	w.ask("watch sysevents\r\n", "OK\r\n")
	c.ask("set a 0 -1 1\r\nx\r\nset b 0 0 1\r\nx\r\nlru_crawler crawl all\r\n", "STORED\r\nSTORED\r\nOK\r\n")
	const want = "type=lru_crawler crawler=0 lru=hot low_mark=0 next_reclaims=0 since_run=0 next_run=60 elapsed=0 examined=2 reclaimed=1\n"
	if got := w.line(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWatchPipelined: memcached does not turn a connection into a watcher before
// its earlier replies have left.
func TestWatchPipelined(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	c.ask("version\r\nwatch\r\nversion\r\n", "VERSION 1.6.45\r\nERROR cannot pipeline other commands before watch\r\nVERSION 1.6.45\r\n")
	c.ask("version\r\nlru_crawler metadump all\r\nlru_crawler mgdump all\r\n",
		"VERSION 1.6.45\r\nERROR cannot pipeline other commands before metadump\r\nERROR cannot pipeline other commands before mgdump\r\n")
}

// TestWatchSlow: a watcher that does not read loses lines, is told how many, and
// delays nobody.
func TestWatchSlow(t *testing.T) {
	r := start(t, plan{})
	w, c := r.dial(), r.dial()
	w.ask("watch\r\n", "OK\r\n")
	batch := strings.Repeat("get "+strings.Repeat("%", 250)+"\r\n", 200)
	begin := time.Now()
	for n := 0; c.stat("", "log_watcher_skipped") == "0"; n++ {
		c.ask(batch, strings.Repeat("END\r\n", 200))
		if time.Since(begin) > patience {
			t.Fatal("nothing was skipped")
		}
	}
	// The watcher reads again, and goes on being told. Lines wait until one more
	// event makes room known.
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			line, err := w.r.ReadString('\n')
			if err != nil {
				t.Error(err)
				return
			}
			var n int
			if _, err := fmt.Sscanf(line, "skipped=%d", &n); err == nil {
				if n == 0 {
					t.Errorf("%q", line)
				}
				return
			}
		}
	}()
	for {
		c.ask("get after\r\n", "END\r\n")
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestWatchLimits: not more than 20 watchers, none with -W.
func TestWatchLimits(t *testing.T) {
	r := start(t, plan{})
	for range 20 {
		r.dial().ask("watch\r\n", "OK\r\n")
	}
	c := r.dial()
	c.ask("watch\r\n", "WATCHER_TOO_MANY log watcher limit reached\r\n")
	off := start(t, plan{set: server.Settings{NoWatch: true}})
	off.dial().ask("watch\r\n", "CLIENT_ERROR watch commands not allowed\r\n")
}

// TestWatchEvictions: items that give way to others.
func TestWatchEvictions(t *testing.T) {
	r := start(t, plan{store: storage.Config{Limit: 2 << 20}})
	w, c := r.dial(), r.dial()
	w.ask("watch evictions\r\n", "OK\r\n")
	value := strings.Repeat("v", 1000)
	for i := range 4000 {
		c.send(fmt.Sprintf("set e:%d 0 0 1000 noreply\r\n%s\r\n", i, value))
	}
	c.ask("mn\r\n", "MN\r\n")
	line := w.line()
	if !regexp.MustCompile(`^type=eviction key=e%3A\d+ fetch=no ttl=-1 la=\d+ clsid=12 size=1000\n$`).MatchString(line) {
		t.Errorf("got %q", line)
	}
}
