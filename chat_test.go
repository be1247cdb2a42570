package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/internal/chat"
	"sememcached/internal/testca"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/chat by what the server says")

// TestChat runs the transcripts over TCP, over a UNIX socket, with the input split
// at random, and so over TLS; those that know nothing of access control also against
// Debian's memcached, which is the oracle.
func TestChat(t *testing.T) {
	files, err := filepath.Glob("testdata/chat/*.chat")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	split := func(b []byte) (parts [][]byte) {
		for len(b) > 0 {
			n := 1 + rnd.IntN(len(b))
			parts = append(parts, b[:n])
			b = b[n:]
		}
		return parts
	}
	for _, file := range files {
		script := parseChat(t, file)
		name := strings.TrimSuffix(filepath.Base(file), ".chat")
		t.Run(name+"/tcp", func(t *testing.T) { runChat(t, script, overTCP, nil) })
		t.Run(name+"/unix", func(t *testing.T) { runChat(t, script, overUnix, nil) })
		t.Run(name+"/split", func(t *testing.T) { runChat(t, script, overTCP, split) })
		t.Run(name+"/tls", func(t *testing.T) { runChat(t, script, overTLS, split) })
		if plainChat(script) {
			t.Run(name+"/memcached", func(t *testing.T) { runOracle(t, script) })
		}
	}
}

func parseChat(t *testing.T, file string) *chat.Script {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script, err := chat.Parse(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// plainChat says whether a transcript is one that memcached understands.
func plainChat(s *chat.Script) bool {
	for _, step := range s.Steps {
		if step.Op == chat.As || step.Op == chat.Policy || step.Op == chat.Audit || step.Op == chat.At {
			return false
		}
	}
	return true
}

// How a transcript's clients are connected.
const (
	overTCP = iota
	overUnix
	overTLS
)

// runChat runs one transcript against a server of its own. Every context named
// by "as" gets a user id and a loopback address of its own in the contexts file.
func runChat(t *testing.T, script *chat.Script, over int, split func([]byte) [][]byte) {
	number := map[string]int{}
	var contexts strings.Builder
	for _, step := range script.Steps {
		if step.Op != chat.As || number[step.Arg] != 0 {
			continue
		}
		n := len(number) + 1
		number[step.Arg] = n
		if step.Arg != "nobody" {
			fmt.Fprintf(&contexts, "client uid:%d %s\nclient cidr:127.0.4.%d/32 %s\n", 4000+n, step.Arg, n, step.Arg)
		}
	}
	if contexts.Len() == 0 {
		contexts.WriteString("client * system_u:system_r:kv_plain_t:s0\n")
	}
	contexts.WriteString("kv_item session:* system_u:object_r:kv_session_t\n")
	var clock atomic.Int64
	clock.Store(1_800_000_000)
	cfg := testConfig{contexts: contexts.String()}
	cfg.engine.Clock = clock.Load
	var ts *testServer
	var secure *tls.Config
	if over == overTLS {
		s := startTLSServer(t, cfg, 0)
		ts, secure = s.testServer, s.config(nil, testca.Leaf{})
	} else {
		ts = startServer(t, cfg)
	}
	var pending []string
	r := &chat.Runner{
		Split: split,
		Dial: func(as string) (net.Conn, error) {
			if over == overUnix {
				return ts.dialAs(4000 + number[as]).Conn, nil
			}
			c := ts.dialFrom(fmt.Sprintf("127.0.4.%d", number[as])).Conn
			if secure != nil {
				c = tls.Client(c, secure)
			}
			return c, nil
		},
		At: func(when string) error {
			d, err := time.ParseDuration(strings.TrimPrefix(when, "+"))
			clock.Add(int64(d / time.Second))
			ts.eng.RunFlushes()
			return err
		},
		Audit: func() (string, error) {
			pending = append(pending, ts.takeAudit()...)
			if len(pending) == 0 {
				return "", errors.New("no audit record")
			}
			line := pending[0]
			pending = pending[1:]
			return line, nil
		},
	}
	if *update && over == overTCP && split == nil {
		text, err := r.Update(script)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, script.File, text)
		return
	}
	if err := r.Run(script); err != nil {
		t.Error(err)
	}
	if rest := append(pending, ts.takeAudit()...); len(rest) > 0 {
		t.Errorf("%s: audit records that the transcript does not expect:\n%s", script.File, strings.Join(rest, "\n"))
	}
}

// runOracle runs one transcript against Debian's memcached.
func runOracle(t *testing.T, script *chat.Script) {
	addr := startMemcached(t)
	r := &chat.Runner{Dial: func(string) (net.Conn, error) { return net.Dial("tcp", addr) }}
	if err := r.Run(script); err != nil {
		t.Error(err)
	}
}

// startMemcached starts Debian's memcached on a free port of the loopback
// interface and returns its address.
func startMemcached(t testing.TB, args ...string) string {
	t.Helper()
	bin := needTool(t, "memcached")
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_, port, _ := net.SplitHostPort(addr)
		l.Close()
		cmd := exec.Command(bin, append([]string{"-u", "root", "-l", "127.0.0.1", "-p", port, "-U", "0"}, args...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		for range 100 {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				return addr
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Fatal("memcached does not listen")
	return ""
}
