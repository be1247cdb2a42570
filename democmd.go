package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sememcached/demo"
	"sememcached/engine"
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
	"sememcached/server"
	"sememcached/storage"
)

const demoHelp = `sememcached demo [ACT...]

Shows what clients of a shared cache can do to each other, the policy that ends
it, and the denial. Each act starts a server of its own on the loopback interface,
with a port that the kernel chooses, and clients with addresses from 127.0.0.2 on;
it ends by itself. An answer that is not the one in the script is an error.

`

// demoPatience is how long an answer is waited for.
const demoPatience = 20 * time.Second

// demoCommand is "sememcached demo".
func demoCommand(args []string, stdout io.Writer) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "-") || len(args) > 0 && args[0] == "help" {
		fmt.Fprint(stdout, demoHelp)
		for _, name := range demo.Names {
			title, _, _ := strings.Cut(actText(name), "\n")
			fmt.Fprintf(stdout, "  %-10s %s\n", name, strings.TrimPrefix(title, "= "))
		}
		return nil
	}
	if len(args) == 0 {
		args = demo.Names
	}
	for _, name := range args {
		if !slices.Contains(demo.Names, name) {
			return exitf(exitUsage, "sememcached demo: expected one of %s, found %q", strings.Join(demo.Names, ", "), name)
		}
		if err := showAct(name, stdout); err != nil {
			return exitf(exitFailure, "sememcached demo: %w", err)
		}
	}
	return nil
}

func actText(name string) string {
	b, err := demo.Acts.ReadFile(name + ".act")
	if err != nil {
		return ""
	}
	return string(b)
}

// stage is where an act is played: a server, its files, and the clients.
type stage struct {
	out     io.Writer
	dir     string
	mon     *mac.Monitor
	addr    string
	clients map[string]*demoClient
	last    *demoClient // who has spoken last
	bold    func(string) string

	proxyRules *mac.KeyRules
	frames     []demo.Frame
}

type demoClient struct {
	net.Conn
	r     *bufio.Reader
	extra []string // lines that have been read from binary replies
}

const (
	openRules = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: open}\nspec: {endpointSelector: {}, ingress: [{fromEntities: [all]}]}\n"
	nobody    = "identities: []\n"
	anybody   = "client * system_u:system_r:kv_plain_t:s0\n"
)

// showAct plays one act.
func showAct(name string, out io.Writer) (err error) {
	s := &stage{out: out, clients: map[string]*demoClient{}, bold: func(t string) string { return t }}
	if wantsColour(out) {
		s.bold = func(t string) string { return "\x1b[1m" + t + "\x1b[0m" }
	}
	if s.dir, err = os.MkdirTemp("", "sememcached-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	stop, err := s.open()
	if err != nil {
		return err
	}
	defer stop()
	lines := strings.Split(strings.TrimRight(actText(name), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		n := i + 1
		var block []string
		if slices.Contains([]string{"rules", "identities", "contexts", "proxy rules"}, lines[i]) {
			for k := i + 1; k < len(lines) && lines[k] != ""; k++ {
				block = append(block, lines[k])
			}
		}
		if err := s.play(lines[i], block); err != nil {
			return fmt.Errorf("%s.act:%d: %s: %w", name, n, lines[i], err)
		}
		if block != nil {
			i += len(block) + 1
		}
	}
	_, err = fmt.Fprintln(out)
	return err
}

func (s *stage) file(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) write(name, text string) error {
	return os.WriteFile(s.file(name), []byte(text), 0o600)
}

// open starts the server, with everything allowed.
func (s *stage) open() (stop func(), err error) {
	for name, text := range map[string]string{"rules": openRules, "identities": nobody, "contexts": anybody} {
		if err := s.write(name, text); err != nil {
			return nil, err
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	s.mon, err = mac.Open(mac.Config{
		Mode: mac.PolicyFile, ContextsFile: s.file("contexts"), Log: quiet, AuditWriter: io.Discard,
		KeyRules: mac.KeyRulesConfig{Files: []string{s.file("rules")}, Identities: s.file("identities"), Endpoint: cnp.Labels{"app": "memcd-server"}},
	})
	if err != nil {
		return nil, err
	}
	store, err := storage.New(storage.Config{})
	if err != nil {
		return nil, err
	}
	eng := engine.New(engine.Config{Store: store, Monitor: s.mon})
	srv, err := server.New(eng, s.mon, &server.Settings{Port: -1, Interfaces: []string{"127.0.0.1"}, Threads: 1}, quiet)
	if err != nil {
		return nil, err
	}
	if err := srv.Listen(); err != nil {
		return nil, err
	}
	s.addr = srv.Addrs()[0].String()
	ended := make(chan struct{})
	go func() {
		_ = srv.Serve(context.Background())
		close(ended)
	}()
	return func() {
		for _, c := range s.clients {
			_ = c.Close()
		}
		srv.Shutdown(false)
		<-ended
		_ = s.mon.Close()
		_ = store.Close()
	}, nil
}

// client is a member of the cast, connected.
func (s *stage) client(name string) (*demoClient, error) {
	if c := s.clients[name]; c != nil {
		return c, nil
	}
	from := demo.Cast[name]
	if from == "" {
		return nil, fmt.Errorf("%q is not in the cast", name)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(demoPatience))
	c := &demoClient{Conn: conn, r: bufio.NewReader(conn)}
	s.clients[name] = c
	return c, nil
}

// play does one line of the script.
func (s *stage) play(line string, block []string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "":
		return nil
	case word == "=":
		fmt.Fprintf(s.out, "%s\n%s\n\n", s.bold(rest), strings.Repeat("=", len(rest)))
		return nil
	case word == ":":
		fmt.Fprintln(s.out, rest)
		return nil
	case line == "rules none":
		fmt.Fprint(s.out, "\n  (key rules: none)\n\n")
		if err := s.write("rules", openRules); err != nil {
			return err
		}
		return s.mon.Reload()
	case block != nil:
		return s.load(line, block)
	case word == "<":
		return s.expect(rest)
	case word == "proxy" && strings.HasPrefix(rest, "< "):
		return s.judged(rest[len("< "):])
	case word == "proxy":
		name, text, ok := strings.Cut(rest, " > ")
		if !ok {
			return errors.New("expected proxy NAME > TEXT")
		}
		return s.through(name, text)
	}
	verb, text, _ := strings.Cut(rest, " ")
	c, err := s.client(word)
	if err != nil {
		return err
	}
	// A binary client and a text client of the same name are two connections.
	if verb == "binary" {
		return s.binary(word, text)
	}
	s.last = c
	switch verb {
	case ">":
		fmt.Fprintf(s.out, "  %-12s> %s\n", word, text)
		_, err = io.WriteString(c, text+"\r\n")
	case ">>":
		fmt.Fprintf(s.out, "  %-12s> %s\n", word, text)
		_, err = io.WriteString(c, unescape(text))
	default:
		err = fmt.Errorf("expected >, >> or binary after %s", word)
	}
	return err
}

func unescape(s string) string {
	return strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\\`, `\`).Replace(s)
}

// load puts a file in force.
func (s *stage) load(kind string, block []string) error {
	fmt.Fprintf(s.out, "\n  (%s)\n", kind)
	for _, l := range block {
		fmt.Fprintf(s.out, "  | %s\n", l)
	}
	fmt.Fprintln(s.out)
	text := strings.Join(block, "\n") + "\n"
	if kind == "proxy rules" {
		if err := s.write("proxy", text); err != nil {
			return err
		}
		var err error
		s.proxyRules, err = mac.LoadKeyRules(&mac.KeyRulesConfig{Files: []string{s.file("proxy")}, Identities: s.file("identities")}, true)
		return err
	}
	if err := s.write(kind, text); err != nil {
		return err
	}
	return s.mon.Reload()
}

// expect reads one line of what comes back.
func (s *stage) expect(want string) error {
	c := s.last
	var got string
	if len(c.extra) > 0 {
		got, c.extra = c.extra[0], c.extra[1:]
	} else {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("expected an answer: %w", err)
		}
		got = strings.TrimRight(line, "\r\n")
	}
	fmt.Fprintf(s.out, "  %-12s  %s\n", "", s.bold(got))
	if got != want {
		return fmt.Errorf("found %q", got)
	}
	return nil
}

// binary asks by the binary protocol and keeps the answer as text.
func (s *stage) binary(name, text string) error {
	fmt.Fprintf(s.out, "  %-12s> (binary) %s\n", name, text)
	f := strings.Fields(text)
	c := s.clients[name+" binary"]
	if c == nil {
		delete(s.clients, name)
		var err error
		if c, err = s.client(name); err != nil {
			return err
		}
		s.clients[name+" binary"] = c
		delete(s.clients, name)
	}
	s.last = c
	opcode, extras, value := byte(0x00), "", ""
	switch {
	case len(f) == 2 && f[0] == "get":
	case len(f) == 3 && f[0] == "set":
		opcode, extras, value = 0x01, "\x00\x00\x00\x00\x00\x00\x09\x60", f[2]
	default:
		return errors.New("expected binary get KEY or binary set KEY VALUE")
	}
	const opaque = 0x57415253
	h := []byte{protocol.MagicRequest, opcode, 0, byte(len(f[1])), byte(len(extras)), 0, 0, 0}
	h = binary.BigEndian.AppendUint32(h, uint32(len(extras)+len(f[1])+len(value)))
	h = binary.BigEndian.AppendUint32(h, opaque)
	h = append(binary.BigEndian.AppendUint64(h, 0), extras+f[1]+value...)
	if _, err := c.Write(h); err != nil {
		return err
	}
	var head [24]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(c.r, body); err != nil {
		return err
	}
	status := binary.BigEndian.Uint16(head[6:])
	switch {
	case head[1] != opcode || binary.BigEndian.Uint32(head[12:]) != opaque:
		return fmt.Errorf("the answer is not to this request: opcode %#x, opaque %#x", head[1], binary.BigEndian.Uint32(head[12:]))
	case status != 0:
		c.extra = append(c.extra, fmt.Sprintf("ERROR 0x%02x %s", status, body))
	case opcode == 0:
		c.extra = append(c.extra, "VALUE "+string(body[head[4]:]))
	default:
		c.extra = append(c.extra, "OK")
	}
	return nil
}

// through sends text as the second parser lets it pass.
func (s *stage) through(name, text string) error {
	if s.proxyRules == nil {
		return errors.New("expected proxy rules before")
	}
	fmt.Fprintf(s.out, "  %-12s> %s\n", name, text)
	m := s.proxyRules.Matcher(&mac.Peer{FD: -1, Addr: netip.AddrPortFrom(netip.MustParseAddr(demo.Cast[name]), 1)}, "")
	p := demo.Proxy{Allow: func(command string, keys []string) bool {
		need, ok := cnp.CommandNamed(command)
		text, spans := cnp.Join(keys...)
		return ok && m.LacksKeys(need, text, spans) == 0
	}}
	s.frames = p.Frames([]byte(unescape(text)))
	c, err := s.client(name)
	if err != nil {
		return err
	}
	s.last = c
	for _, f := range s.frames {
		if f.Allowed {
			if _, err := c.Write(f.Bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// judged checks what the second parser has made of the bytes.
func (s *stage) judged(want string) error {
	verdict := "PASS"
	for _, f := range s.frames {
		fmt.Fprintf(s.out, "  %-12s: the proxy sees one frame of %d bytes, %s %s\n", "", len(f.Bytes), f.Command, strings.Join(f.Keys, " "))
		if !f.Allowed {
			verdict = "DENY"
		}
	}
	if got := strconv.Itoa(len(s.frames)) + " " + verdict; got != want {
		return fmt.Errorf("found %s", got)
	}
	return nil
}
