package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/policy/cnp"
	"sememcached/protocol"
	"sememcached/server"
)

// logLine is a line of the access log.
type logLine struct {
	Timestamp  string `json:"timestamp"`
	Ingress    bool   `json:"is_ingress"`
	Kind       string `json:"entry_type"`
	Policy     string `json:"policy_name"`
	Rule       string `json:"cilium_rule_ref"`
	Identity   string `json:"source_identity"`
	Source     string `json:"source_address"`
	Local      string `json:"destination_address"`
	Verdict    string `json:"verdict"`
	Missing    string `json:"missing"`
	Result     string `json:"result"`
	Status     *int   `json:"status"`
	Request    int    `json:"request_bytes"`
	Reply      int    `json:"reply_bytes"`
	Suppressed int    `json:"suppressed"`
	L7         struct {
		Proto   string   `json:"proto"`
		Command string   `json:"command"`
		Opcode  *int     `json:"opcode"`
		Keys    []string `json:"keys"`
		Count   int      `json:"key_count"`
		Status  string   `json:"status"`
	} `json:"l7"`
}

// short is what most tests look at.
func (l *logLine) short() string {
	s := fmt.Sprintf("%s %s %q %s", l.L7.Proto, l.L7.Command, l.L7.Keys, l.Verdict)
	if l.Missing != "" {
		s += " lacks " + l.Missing
	}
	if l.Rule != "" {
		s += " by " + filepath.Base(l.Rule)
	}
	if l.Result != "" {
		s += " " + l.Result
	}
	if l.Status != nil {
		s += fmt.Sprintf(" status %d", *l.Status)
	}
	return s + fmt.Sprintf(" %d/%d", l.Request, l.Reply)
}

// logLines waits for n lines in the file.
func logLines(t *testing.T, file string, n int) []logLine {
	t.Helper()
	var out []logLine
	until(t, fmt.Sprintf("%d lines in the access log", n), func() bool {
		b, err := os.ReadFile(file)
		if err != nil || strings.Count(string(b), "\n") < n {
			return false
		}
		out = nil
		for _, text := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
			var l logLine
			d := json.NewDecoder(strings.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&l); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			out = append(out, l)
		}
		return true
	})
	return out
}

func shorts(lines []logLine) (out []string) {
	for i := range lines {
		out = append(out, lines[i].short())
	}
	return out
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAccessLog: every request, with the rule, the result and the sizes.
func TestAccessLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access")
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get, keyPrefix: "pub:"}, {command: set, keyPrefix: "pub:"}`, `a {command: me}`), us("a"),
		func(p *plan) { p.set.AccessLog = server.AccessLog{File: file, All: true} })
	c := r.dial()
	big := strings.Repeat("x", 30000)
	for _, x := range []struct{ send, want string }{
		{"set pub:a 0 0 3\r\nabc\r\n", "STORED\r\n"},
		{"get pub:a pub:b\r\n", "VALUE pub:a 0 3\r\nabc\r\nEND\r\n"},
		{"get pub:a sec:b\r\n", refused},
		{"mg pub:a\r\n", "HD\r\n"},
		{"me none\r\n", "EN\r\n"},
		{packet(0x00, "pub:\x00\xff\"", "", "", 0), ""},
		{fmt.Sprintf("set pub:big 0 0 %d\r\n%s\r\n", len(big), big), "STORED\r\n"},
		{fmt.Sprintf("set sec:big 0 0 %d\r\n%s\r\n", len(big), big), refused},
		{"mn\r\n", "MN\r\n"},
	} {
		if x.want == "" {
			r.dial().ask(x.send, reply(0, 1, "Not found"))
			continue
		}
		c.ask(x.send, x.want)
	}
	lines := logLines(t, file, 9)
	sameLines(t, shorts(lines), []string{
		`textmemcached set ["pub:a"] Forwarded by rules.yaml:8 STORED 3/8`,
		`textmemcached get ["pub:a" "pub:b"] Forwarded by rules.yaml:8 VALUE 0/27`,
		`textmemcached get ["pub:a" "sec:b"] Denied lacks get CLIENT_ERROR 0/28`,
		`metamemcached mg ["pub:a"] Forwarded by rules.yaml:8 HD 0/4`,
		`metamemcached me ["none"] Forwarded by rules.yaml:10 EN 0/4`,
		`binarymemcached get ["pub:\x00ÿ\""] Forwarded by rules.yaml:8 status 1 0/33`,
		`textmemcached set ["pub:big"] Forwarded by rules.yaml:8 STORED 30000/8`,
		`textmemcached set ["sec:big"] Denied lacks set CLIENT_ERROR 30000/28`,
		`metamemcached mn [] Forwarded MN 0/4`,
	})
	l := lines[0]
	if l.Identity != "app=a" || l.Policy != "test" || !l.Ingress || l.Kind != "Request" || !strings.HasPrefix(l.Source, "127.0.0.1:") ||
		l.Local != r.addr.String() || !strings.HasSuffix(l.Timestamp, "Z") {
		t.Errorf("%+v", l)
	}
	if lines[2].Kind != "Denied" || *lines[5].L7.Opcode != 0 {
		t.Errorf("%+v", lines[2])
	}
}

// TestAccessLogDenied: only denials by default, and the keys of a long line are
// counted where they have no room.
func TestAccessLogDenied(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "access")
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get, keyPrefix: "pub:"}`), us("a"),
		func(p *plan) { p.set.AccessLog = server.AccessLog{File: file} })
	c := r.dial()
	c.ask("get pub:a\r\nget sec:a\r\n", "END\r\n"+refused)
	c.ask("get"+strings.Repeat(" "+strings.Repeat("k", 99), 300)+"\r\n", refused)
	lines := logLines(t, file, 2)
	if len(lines) != 2 || len(lines[1].L7.Keys) != 10 || lines[1].L7.Count != 300 {
		t.Errorf("%v, %d of %d keys", shorts(lines[:1]), len(lines[1].L7.Keys), lines[1].L7.Count)
	}
	// Rotation: the lines after it are in the new file.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	r.srv.ReopenLogs()
	until(t, "the new file", func() bool { _, err := os.Stat(file); return err == nil })
	c.ask("get sec:b\r\n", refused)
	sameLines(t, shorts(logLines(t, file, 1)), []string{`textmemcached get ["sec:b"] Denied lacks get CLIENT_ERROR 0/28`})
	logLines(t, file+".1", 2)
}

// TestAccessLogWithoutRules: the log is there without key rules too, sampled and
// rate-limited.
func TestAccessLogWithoutRules(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []struct {
		set   server.AccessLog
		lines int
	}{
		{server.AccessLog{File: filepath.Join(dir, "a"), All: true, Sample: 10}, 10},
		{server.AccessLog{File: filepath.Join(dir, "b"), All: true, Rate: -1}, 100},
	} {
		r := start(t, plan{set: server.Settings{AccessLog: x.set}})
		c := r.dial()
		c.ask(strings.Repeat("get a\r\n", 100), strings.Repeat("END\r\n", 100))
		if lines := logLines(t, x.set.File, x.lines); len(lines) != x.lines || lines[0].Verdict != "Forwarded" || lines[0].Result != "END" {
			t.Errorf("%d lines, want %d", len(lines), x.lines)
		}
	}
	file := filepath.Join(dir, "c")
	r := start(t, plan{set: server.Settings{AccessLog: server.AccessLog{File: file, All: true, Rate: 3}}})
	r.dial().ask(strings.Repeat("get a\r\n", 2000), strings.Repeat("END\r\n", 2000))
	r.srv.Shutdown(false)
	r.ended <- <-r.ended // all is written
	said := 0
	for _, l := range logLines(t, file, 4) {
		if said += l.Suppressed; l.Suppressed == 0 {
			said++
		}
	}
	if said != 2000 {
		t.Errorf("lines and suppressed ones are %d, want 2000", said)
	}
}

// TestSandbox: a panic in parsing or dispatch closes the connection it came from,
// is logged with its input, bounded and escaped, and costs nobody else anything.
func TestSandbox(t *testing.T) {
	defer server.PanicOn(protocol.Version)()
	file := filepath.Join(t.TempDir(), "access")
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get}`), us("a"), func(p *plan) { p.set.AccessLog.File = file })
	other := r.dial()
	other.ask("get a\r\n", "END\r\n")
	c := r.dial()
	c.ask("get a\r\n", "END\r\n")
	c.send("version\r\n" + strings.Repeat("get \x01\n", 200))
	c.expectClosed()
	until(t, "the log", func() bool { return strings.Contains(r.log.String(), "planted") })
	text := r.log.String()
	if !strings.Contains(text, `input="version\r\nget \x01\n`) || !strings.Contains(text, "... (1209 bytes)") || strings.Contains(text, "\x01") {
		t.Errorf("the log: %.600s", text)
	}
	if l := logLines(t, file, 1)[0]; l.L7.Proto != "memcache" || l.L7.Status != "Panic: planted" || l.Verdict != "Denied" {
		t.Errorf("%+v", l)
	}
	other.ask("get a\r\n", "END\r\n")
}

// TestAccessLogInParts: a reply that leaves in parts, because a decider or the
// client's socket is slow, is logged as a whole.
func TestAccessLogInParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access")
	r := startRuled(t, cnp.Strict, policyOf(`a {command: "*"}`), us("a"),
		func(p *plan) { p.set.AccessLog = server.AccessLog{File: file, All: true} })
	c := r.dial()
	c.ask("set a 0 0 1 noreply\r\nA\r\nset c 0 0 1\r\nC\r\n", "STORED\r\n")
	const a, b = "VALUE a 0 1\r\nA\r\n", "VALUE c 0 1\r\nC\r\n"

	// A key in the middle, the first, and the last one wait.
	for _, keys := range []string{"a wait c", "wait a c", "a c wait"} {
		open := r.eng.gate("wait")
		c.send("get " + keys + "\r\n")
		until(t, "the request to wait", func() bool { return r.srv.Parked() == 1 })
		open()
		c.expect(a + b + "END\r\n")
	}
	bin := r.dial()
	open := r.eng.gate("a")
	bin.send(packet(0x00, "a", "", "", 0))
	until(t, "the request to wait", func() bool { return r.srv.Parked() == 1 })
	open()
	if _, err := bin.r.Peek(24 + 4 + 1); err != nil {
		t.Fatal(err)
	}

	// More than the sockets hold: large values that leave from the arena.
	big := strings.Repeat("x", 400_000)
	c.ask(fmt.Sprintf("set big 0 0 %d\r\n%s\r\n", len(big), big), "STORED\r\n")
	value := fmt.Sprintf("VALUE big 0 %d\r\n%s\r\n", len(big), big)
	c.send("get" + strings.Repeat(" big", 20) + "\r\n")
	c.expect(strings.Repeat(value, 20) + "END\r\n")

	lines := logLines(t, file, 8)
	sameLines(t, shorts(lines), []string{
		`textmemcached set ["a"] Forwarded by rules.yaml:8 1/0`,
		`textmemcached set ["c"] Forwarded by rules.yaml:8 STORED 1/8`,
		`textmemcached get ["a" "wait" "c"] Forwarded by rules.yaml:8 VALUE 0/37`,
		`textmemcached get ["wait" "a" "c"] Forwarded by rules.yaml:8 VALUE 0/37`,
		`textmemcached get ["a" "c" "wait"] Forwarded by rules.yaml:8 VALUE 0/37`,
		`binarymemcached get ["a"] Forwarded by rules.yaml:8 status 0 0/29`,
		`textmemcached set ["big"] Forwarded by rules.yaml:8 STORED 400000/8`,
		fmt.Sprintf(`textmemcached get ["big"%s] Forwarded by rules.yaml:8 VALUE 0/%d`, strings.Repeat(` "big"`, 19), 20*len(value)+5),
	})
}
