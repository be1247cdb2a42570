package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What flags do, seen from outside of the process, and beside memcached where it does
// the same.

// eachServer runs a test with our binary and with Debian's memcached, at the same time.
func eachServer(t *testing.T, args []string, test func(t *testing.T, p *process)) {
	memcached := needTool(t, "memcached")
	ours, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	user := whoami(t)
	for name, bin := range map[string]string{"memcached": memcached, "sememcached": ours} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, launch(t, exec.Command(bin, append([]string{"-u", user}, args...)...)))
		})
	}
}

// statOf is one line of a statistic, or "".
func (c *client) statOf(command, name string) string {
	c.t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	value := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", command, err)
		}
		if line == "END\r\n" {
			return value
		}
		if v, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			value = strings.TrimSpace(v)
		}
	}
}

// TestIdleTimeout: a connection without a command for longer than idle_timeout is
// closed, one that waits for the rest of a value or goes on is not.
func TestIdleTimeout(t *testing.T) {
	eachServer(t, []string{"-o", "idle_timeout=2"}, func(t *testing.T, p *process) {
		idle, upload, busy, watcher := p.dial(), p.dial(), p.dial(), p.dial()
		fmt.Fprint(watcher, "watch connevents\r\n")
		if line, err := watcher.r.ReadString('\n'); line != "OK\r\n" {
			t.Fatalf("watch: %q, %v", line, err)
		}
		fmt.Fprint(upload, "set k 0 0 10\r\n12345")
		idle.statOf("stats", "pid")
		begin := time.Now()
		ended := make(chan time.Duration, 1)
		go func() {
			_, _ = io.ReadAll(idle.r)
			ended <- time.Since(begin)
		}()
		for waiting := true; waiting; {
			select {
			case after := <-ended:
				if after < 2*time.Second {
					t.Errorf("closed after %v of idleness", after)
				}
				waiting = false
			case <-time.After(200 * time.Millisecond):
				busy.statOf("stats", "pid")
			}
		}
		if n := busy.statOf("stats", "idle_kicks"); n != "1" {
			t.Errorf("idle_kicks: expected 1, found %q", n)
		}
		fmt.Fprint(upload, "67890\r\n")
		if line, err := upload.r.ReadString('\n'); line != "STORED\r\n" {
			t.Errorf("an upload that paused: %q, %v", line, err)
		}
		for {
			line, err := watcher.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "type=conn_close") {
				if !strings.Contains(line, "reason=idle_timeout") {
					t.Errorf("watch: %q", line)
				}
				break
			}
		}
	})
}

// TestNoIdleTimeout: without the option nothing is counted.
func TestNoIdleTimeout(t *testing.T) {
	eachServer(t, nil, func(t *testing.T, p *process) {
		if n := p.dial().statOf("stats", "idle_kicks"); n != "" {
			t.Errorf("idle_kicks is there: %s", n)
		}
	})
}

// TestMaxConnsFast: the surplus client is told so and closed; when one has gone there
// is room again.
func TestMaxConnsFast(t *testing.T) {
	eachServer(t, []string{"-c", "40"}, func(t *testing.T, p *process) {
		var in []*client
		text := ""
		for len(in) <= 40 {
			c := p.dial()
			fmt.Fprint(c, "mn\r\n")
			line, err := c.r.ReadString('\n')
			if line != "MN\r\n" {
				rest, _ := io.ReadAll(c.r)
				if text = line + string(rest); err != nil {
					t.Fatalf("after %d connections: %q, %v", len(in), text, err)
				}
				break
			}
			in = append(in, c)
		}
		if text != "ERROR Too many open connections\r\n" {
			t.Fatalf("after %d connections: %q", len(in), text)
		}
		// memcached compares the descriptor's number, and has others open.
		if ours := strings.HasSuffix(p.cmd.Path, "sememcached"); ours && len(in) != 40 {
			t.Errorf("expected room for 40, found %d", len(in))
		}
		if n := in[0].statOf("stats", "rejected_connections"); n != "1" {
			t.Errorf("rejected_connections: %s", n)
		}
		if n := in[0].statOf("stats", "accepting_conns"); n != "1" {
			t.Errorf("accepting_conns: %s", n)
		}
		in[len(in)-1].Close()
		waitFor(t, "room", func() bool {
			c := p.dial()
			fmt.Fprint(c, "mn\r\n")
			line, _ := c.r.ReadString('\n')
			return line == "MN\r\n"
		})
	})
}

// TestMaxConnsWait: with no_maxconns_fast the surplus client waits, and is served when
// another has gone.
func TestMaxConnsWait(t *testing.T) {
	for _, option := range []string{"no_maxconns_fast", "no_modern"} {
		p := startProcess(t, "-u", whoami(t), "-c", "3", "-o", option)
		a, b, c := p.dial(), p.dial(), p.dial()
		for _, x := range []*client{a, b, c} {
			x.want("version\r\n", "VERSION 1.6.45\r\n")
		}
		if a.statOf("stats", "accepting_conns") != "1" || a.statOf("stats", "listen_disabled_num") != "0" {
			t.Error("full is not yet disabled")
		}
		surplus := p.dial()
		fmt.Fprint(surplus, "version\r\n")
		waitFor(t, "the listener to be disabled", func() bool { return a.statOf("stats", "accepting_conns") == "0" })
		surplus.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if line, err := surplus.r.ReadString('\n'); !os.IsTimeout(err) {
			t.Errorf("the surplus client: %q, %v", line, err)
		}
		c.Close()
		surplus.SetReadDeadline(time.Now().Add(20 * time.Second))
		if line, err := surplus.r.ReadString('\n'); line != "VERSION 1.6.45\r\n" {
			t.Errorf("the surplus client, later: %q, %v", line, err)
		}
		waitFor(t, "the listener to be enabled", func() bool { return a.statOf("stats", "accepting_conns") == "1" })
		us, _ := strconv.Atoi(a.statOf("stats", "time_in_listen_disabled_us"))
		if n := a.statOf("stats", "listen_disabled_num"); n != "1" || us < 100_000 || a.statOf("stats", "rejected_connections") != "" {
			t.Errorf("listen_disabled_num %s, time_in_listen_disabled_us %d", n, us)
		}
		if option == "no_maxconns_fast" && a.statOf("stats settings", "maxconns_fast") != "no" {
			t.Error("stats settings says otherwise")
		}
	}
}

// TestTrackSizes: stats sizes, beside memcached.
func TestTrackSizes(t *testing.T) {
	seen := make(chan string, 2)
	t.Run("both", func(t *testing.T) {
		eachServer(t, []string{"-o", "track_sizes"}, func(t *testing.T, p *process) {
			c := p.dial()
			for i := range 400 {
				value := strings.Repeat("x", i*7)
				fmt.Fprintf(c, "set key%d %d 0 %d\r\n%s\r\n", i, i%2, len(value), value)
				if line, err := c.r.ReadString('\n'); line != "STORED\r\n" {
					t.Fatalf("%q, %v", line, err)
				}
			}
			for i := range 50 {
				fmt.Fprintf(c, "delete key%d noreply\r\nappend key%d 0 0 40 noreply\r\n%s\r\n", i, i+100, strings.Repeat("y", 40))
			}
			fmt.Fprint(c, "stats sizes\r\n")
			text := ""
			for !strings.HasSuffix(text, "END\r\n") {
				line, err := c.r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				text += line
			}
			if c.statOf("stats settings", "track_sizes") != "yes" {
				t.Error("stats settings says otherwise")
			}
			seen <- text
		})
	})
	a, b := <-seen, <-seen
	if a != b || strings.Count(a, "STAT ") < 50 {
		t.Errorf("the two differ, or have too little:\n%s\n%s", a, b)
	}
}

// lockedKB is how much of a process is locked in memory.
func lockedKB(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmLck:\s*(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmLck in %s", b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// TestLockMemory: -k locks what is there and what comes, and where that is not permitted
// says so and serves.
func TestLockMemory(t *testing.T) {
	var limit unix.Rlimit
	caps, err := permitted()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || limit.Cur != unix.RLIM_INFINITY && caps&(1<<unix.CAP_IPC_LOCK) == 0 {
		missing(t, "this needs root and CAP_IPC_LOCK, or no limit on locked memory")
	}
	p := startProcess(t, "-u", whoami(t), "-k", "-m", "64")
	c := p.dial()
	if n := lockedKB(t, p.cmd.Process.Pid); n < 1024 {
		t.Errorf("VmLck: %d kB\n%s", n, p.stderr)
	}
	value := strings.Repeat("x", 500_000)
	for i := range 60 {
		c.want(fmt.Sprintf("set k%d 0 0 %d\r\n%s\r\n", i, len(value), value), "STORED\r\n")
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`VmSwap:\s*(\d+) kB`).FindSubmatch(b); m != nil && string(m[1]) != "0" {
		t.Errorf("VmSwap: %s kB", m[1])
	}
	// Item pages are mapped after mlockall: that they are locked is what MCL_FUTURE is for.
	if n := lockedKB(t, p.cmd.Process.Pid); n < 30_000 {
		t.Errorf("VmLck after 30 MB of values: %d kB", n)
	}

	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needTool(t, "prlimit"), "--memlock=65536:65536", bin, "-k")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	p = launch(t, cmd)
	p.dial().want("version\r\n", "VERSION 1.6.45\r\n")
	const text = "warning: -k invalid, mlockall() failed: operation not permitted"
	waitFor(t, "the warning", func() bool { return strings.Contains(p.stderr.String(), text) })
	if n := lockedKB(t, p.cmd.Process.Pid); n != 0 {
		t.Errorf("VmLck: %d kB are locked all the same", n)
	}
}

// TestVerbosityFlag: the number of -v shows; the command is capped.
func TestVerbosityFlag(t *testing.T) {
	for args, want := range map[string]string{"-v": "1", "-vv": "2", "-vvv": "3"} {
		p := startProcess(t, "-u", whoami(t), args)
		c := p.dial()
		if got := c.statOf("stats settings", "verbosity"); got != want {
			t.Errorf("%s: verbosity %s", args, got)
		}
		c.want("verbosity 9\r\n", "OK\r\n")
		if got := c.statOf("stats settings", "verbosity"); got != "2" {
			t.Errorf("after verbosity 9: %s", got)
		}
	}
}

// TestCheckConfigRest: the user, the addresses and the files of users are looked at, and
// no port is opened.
func TestCheckConfigRest(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	users, broken := usersFile(t), filepath.Join(t.TempDir(), "broken")
	writeFile(t, broken, "alice:\n")
	for _, c := range []struct {
		env, args, text string
		code            int
	}{
		{"", "-u " + whoami(t) + " -p " + port + " -l 127.0.0.1", "access control by", 0},
		{"", "-u no-such-user", "can't find the user no-such-user to switch to", exitNoUser},
		{"", "-l no-such-host.invalid", "failed to listen on one of interface(s) no-such-host.invalid", exitOSError},
		{"", "-l [::1", "Invalid IPV6 address", exitOSError},
		{"", "-l 127.0.0.1:70000", "Invalid port number", exitOSError},
		{"", "-l notls:127.0.0.1", "'notls' option is valid only when SSL is enabled", exitOSError},
		{"", "-l tag[waytoolong]:127.0.0.1", "Listener tags must be between 1 and 8 characters", exitOSError},
		{"", "-Y " + users, "access control by", 0},
		{"", "-Y /no/such/file", "Could not open authfile [/no/such/file]", exitFailure},
		{"", "-Y " + broken, "has a malformed entry. Should be 'user:password'", exitFailure},
		{"", "-S", "found none", exitFailure},
		{users, "-S", "access control by", 0},
		{broken, "-S", "has a malformed entry. Should be 'user:password'", exitFailure},
	} {
		t.Setenv("MEMCACHED_SASL_PWDB", c.env)
		var out bytes.Buffer
		code := run(append(strings.Fields(c.args), "--mac", "policy", "--check-config"), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.text) {
			t.Errorf("%s: expected exit %d and %q, found %d and %q", c.args, c.code, c.text, code, &out)
		}
	}
}

// notifyMessages is a service manager's ear: what comes to it, one message a datagram.
func notifyMessages(t *testing.T, addr string) <-chan string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ch := make(chan string, 1024)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			ch <- string(buf[:n])
		}
	}()
	return ch
}

// TestNotify: what a service manager is told, and when (sd_notify(3), sd_watchdog_enabled(3)).
func TestNotify(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@sememcached-test-%d", os.Getpid())} {
		messages := notifyMessages(t, addr)
		beats := 0
		next := func() string {
			t.Helper()
			for {
				select {
				case m := <-messages:
					if m != "WATCHDOG=1" {
						return m
					}
					beats++
				case <-time.After(20 * time.Second):
					t.Fatal("no message within 20 s")
				}
			}
		}
		cmd := exec.Command(bin, "-u", whoami(t))
		cmd.Env = []string{"NOTIFY_SOCKET=" + addr, "WATCHDOG_USEC=40000"}
		p := launch(t, cmd)
		if m := next(); !strings.HasPrefix(m, "READY=1\nSTATUS=access control by ") {
			t.Errorf("the first message: %q", m)
		}
		p.dial().want("version\r\n", "VERSION 1.6.45\r\n")
		waitFor(t, "the watchdog's messages", func() bool {
			if m := <-messages; m != "WATCHDOG=1" {
				t.Fatalf("found %q", m)
			}
			beats++
			return beats >= 5
		})
		var before, after unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m := next()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
		var usec int64
		if n, err := fmt.Sscanf(m, "RELOADING=1\nMONOTONIC_USEC=%d", &usec); n != 1 || usec < before.Nano()/1000 || usec > after.Nano()/1000 {
			t.Errorf("on SIGHUP: %q, %v; expected a time from %d to %d", m, err, before.Nano()/1000, after.Nano()/1000)
		}
		if m := next(); m != "READY=1" {
			t.Errorf("after the reload: %q", m)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if m := next(); m != "STOPPING=1" {
			t.Errorf("on SIGTERM: %q", m)
		}
		if code := p.ended(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestWatchdogOfAnother: WATCHDOG_PID names the process that is watched.
func TestWatchdogOfAnother(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	addr := filepath.Join(t.TempDir(), "notify")
	messages := notifyMessages(t, addr)
	cmd := exec.Command(bin, "-u", whoami(t))
	cmd.Env = []string{"NOTIFY_SOCKET=" + addr, "WATCHDOG_USEC=2000", "WATCHDOG_PID=1"}
	p := launch(t, cmd)
	time.Sleep(100 * time.Millisecond) // fifty of the watchdog's times: it would have spoken
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ended()
	for {
		select {
		case m := <-messages:
			if m == "WATCHDOG=1" {
				t.Fatal("a process that is not watched says that it lives")
			}
		default:
			return
		}
	}
}

// TestMaxConnsTLS: who is turned away at a TLS port is told so before any handshake, in
// plain text, as by memcached.
func TestMaxConnsTLS(t *testing.T) {
	ca, _, chain, key := writeServer(t)
	eachServer(t, []string{"-c", "40", "-Z", "-o", "ssl_chain_cert=" + chain + ",ssl_key=" + key}, func(t *testing.T, p *process) {
		var full error
		n := 0
		for ; n <= 40 && full == nil; n++ {
			var c *tls.Conn
			if c, full = tls.Dial("tcp", p.addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}); full == nil {
				defer c.Close()
			}
		}
		if full == nil {
			t.Fatalf("nobody is turned away after %d connections", n)
		}
		raw := p.dial() // it says nothing, so the end of its connection is an orderly one
		if text, err := io.ReadAll(raw.r); string(text) != "ERROR Too many open connections\r\n" {
			t.Errorf("after %d connections: %q, %v", n-1, text, err)
		}
	})
}
