package mac

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sememcached/avc"
)

func TestContextsFileErrors(t *testing.T) {
	const ctx = " system_u:system_r:kv_client_t:s0\n"
	for _, c := range []struct{ text, want string }{
		{"clients *" + ctx, `:1: expected client or kv_item, found "clients"`},
		{"\n# x\n  client *\n", ":3: expected three fields (client PATTERN CONTEXT), found 2"},
		{"client * a b\n", ":1: expected three fields (client PATTERN CONTEXT), found 4"},
		{"kv_item\n", ":1: expected three fields (kv_item PATTERN CONTEXT), found 1"},
		{"client foo" + ctx, `:1: expected * or KIND:PATTERN with KIND one of uid gid cidr udp spiffe dns cn sasl, found "foo"`},
		{"client *:x" + ctx, `:1: expected * or KIND:PATTERN`},
		{"client UID:1" + ctx, `:1: expected * or KIND:PATTERN`},
		{"client spiffe:prod/ns/*" + ctx, `:1: expected the pattern of a SPIFFE ID, as spiffe:spiffe://DOMAIN/PATH, found "spiffe:prod/ns/*"`},
		{"client spiffe:spiffe" + ctx, ":1: expected the pattern of a SPIFFE ID"},
		{"client uid:" + ctx, ":1: expected a pattern after uid:, found nothing"},
		{"client uid:root" + ctx, `:1: expected a number or * after uid:, found "root"`},
		{"client uid:-1" + ctx, `found "-1"`},
		{"client uid:4294967295" + ctx, `found "4294967295"`},
		{"client gid:1*" + ctx, `:1: expected a number or * after gid:, found "1*"`},
		{"client cidr:10.0.0.0/33" + ctx, `:1: expected an address or ADDRESS/BITS, found "10.0.0.0/33"`},
		{"client cidr:10.0.0" + ctx, `expected an address or ADDRESS/BITS`},
		{"client cidr:10.1.2.3/8" + ctx, `:1: expected a network, as 10.0.0.0/8, found "10.1.2.3/8" with host bits set`},
		{"client cidr:::ffff:10.0.0.0/104" + ctx, `expected an IPv4 network as a.b.c.d/BITS`},
		{"client cidr:fe80::1%eth0" + ctx, `expected an address or ADDRESS/BITS`},
		{"client udp:10.*" + ctx, `expected an address or ADDRESS/BITS`},
		{`client cn:a\` + ctx, `:1: expected three fields`}, // the \ keeps the blank
		{`kv_item a b\`, `:1: expected a context that the policy knows, found "b\\"`},
		{`kv_item a\`, `:1: expected three fields (kv_item PATTERN CONTEXT), found 2`},
		// contexts
		{"client uid:1 system_u:system_r:nonesuch_t:s0\n", `:1: expected a context that the policy knows, found "system_u:system_r:nonesuch_t:s0"`},
		{"client uid:1 system_u:system_r:kv_client_t\n", `:1: expected a context that the policy knows`}, // no level
		{"kv_item x system_u:object_r:nonesuch_t\n", `:1: expected a context that the policy knows`},
		{"kv_item x system_u:object_r:kv_item_t:s0:c1024\n", `:1: expected a context that the policy knows`},
		{"kv_item x \x01\n", `:1: expected a context that the policy knows, found "\x01": invalid security context: expected printable`},
	} {
		name := writeFile(t, "contexts", c.text)
		_, err := Open(Config{Mode: PolicyFile, ContextsFile: name, Log: quiet(), AuditWriter: new(text)})
		var se *StartError
		if !errors.As(err, &se) || se.Code != ExitConfig {
			t.Errorf("%q: error %v, want a refusal with code %d", c.text, err, ExitConfig)
			continue
		}
		if !strings.Contains(err.Error(), name+c.want) && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
		if !strings.Contains(err.Error(), name+":") {
			t.Errorf("%q: no FILE:LINE in %v", c.text, err)
		}
	}
}

func TestContextsFileMissing(t *testing.T) {
	_, err := Open(Config{Mode: PolicyFile, ContextsFile: "/nonexistent/contexts", Log: quiet(), AuditWriter: new(text)})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/contexts") {
		t.Errorf("error %v", err)
	}
}

const sampleContexts = `
# keyword or class, pattern, context; first match wins
client   uid:1001                 system_u:system_r:kv_client_t:s0:c1
client	gid:100	system_u:system_r:kv_client_t:s0:c2   # a comment
client   cidr:10.1.0.0/16         system_u:system_r:kv_reader_t:s0
client   cidr:2001:db8::/32       system_u:system_r:kv_reader_t:s0:c6
client   udp:10.0.0.0/8           system_u:system_r:kv_reader_t:s0:c9
client   spiffe:spiffe://prod/ns/web/*   system_u:system_r:kv_client_t:s0:c1,c2
client   dns:*.Web.example        system_u:system_r:kv_client_t:s0:c3
client   cn:we?                   system_u:system_r:kv_client_t:s0:c4
client   sasl:alice               system_u:system_r:kv_admin_t:s0-s0:c0.c1023
client   cidr:*                   system_u:system_r:kv_reader_t:s0:c7
client   uid:*                    system_u:system_r:kv_reader_t:s0:c8
kv_item  session:*                system_u:object_r:kv_session_t
kv_item  session:fixed            system_u:object_r:kv_item_t:s0:c5
kv_item  a\ b\**                  system_u:object_r:kv_item_t:s0:c5
kv_item  x?                       system_u:object_r:kv_item_t:s0:c2,c1,c3
`

func TestSubjectByContextsFile(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", sampleContexts)})
	with := func(p *Peer, kind IdentityKind, value ...string) *Peer {
		for _, v := range value {
			p.Extra = append(p.Extra, Identity{kind, v})
		}
		return p
	}
	udp := func(p *Peer) *Peer { p.UDP = true; return p }
	for _, c := range []struct {
		name string
		p    *Peer
		want string
	}{
		{"uid", unixPeer(1001, 100), "kv_client_t:s0:c1"},
		{"gid", unixPeer(5, 100), "kv_client_t:s0:c2"},
		{"other uid", unixPeer(5, 5), "kv_reader_t:s0:c8"},
		{"no credentials", &Peer{FD: -1, UID: 1001, Path: "/x"}, ""},
		{"net", tcp("10.1.2.3"), "kv_reader_t:s0"},
		{"mapped", tcp("::ffff:10.1.2.3"), "kv_reader_t:s0"},
		{"other net", tcp("10.2.0.1"), "kv_reader_t:s0:c7"},
		{"IPv6", tcp("2001:db8::1"), "kv_reader_t:s0:c6"},
		{"zone", tcp("fe80::1%eth0"), "kv_reader_t:s0:c7"},
		{"UDP never by cidr", udp(tcp("10.1.2.3")), "kv_reader_t:s0:c9"},
		{"UDP without a line", udp(tcp("192.0.2.1")), ""},
		{"the first line of the file, not of the identity", with(tcp("10.1.2.3"), KindSASL, "alice"), "kv_reader_t:s0"},
		{"spiffe", with(&Peer{FD: -1}, KindSPIFFE, "spiffe://prod/ns/web/sa/x"), "kv_client_t:s0:c1,c2"},
		{"spiffe of another", with(&Peer{FD: -1}, KindSPIFFE, "spiffe://prod/ns/webs"), ""},
		{"dns", with(&Peer{FD: -1}, KindDNS, "a.other", "b.web.example"), "kv_client_t:s0:c3"},
		{"cn", with(&Peer{FD: -1}, KindCN, "web"), "kv_client_t:s0:c4"},
		{"a pattern matches only its kind", with(&Peer{FD: -1}, KindSASL, "web"), ""},
		{"sasl", with(&Peer{FD: -1}, KindSASL, "alice"), "kv_admin_t:s0-s0:c0.c1023"},
		{"sasl by prefix only", with(&Peer{FD: -1}, KindSASL, "alice2"), ""},
	} {
		g := m.Generation()
		s := m.Subject(g, c.p)
		want := "system_u:system_r:" + c.want
		if c.want == "" {
			want = nobody
		}
		if got := m.SIDs().String(s); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
		m.SIDs().Release(s)
	}
	if s := m.Subject(m.Generation(), nil); s != 0 {
		t.Errorf("no peer at all is %d", s)
	}
}

func TestBareStarIsAllButUDP(t *testing.T) {
	m := open(t, Config{}) // the built-in line
	p := tcp("192.0.2.1")
	if got := m.SIDs().String(m.Subject(m.Generation(), p)); got != plain {
		t.Errorf("TCP: %s", got)
	}
	if got := m.SIDs().String(m.Subject(m.Generation(), unixPeer(0, 0))); got != plain {
		t.Errorf("UNIX: %s", got)
	}
	p.UDP = true
	if got := m.SIDs().String(m.Subject(m.Generation(), p)); got != nobody {
		t.Errorf("UDP: %s", got)
	}
	p.Addr = netip.AddrPort{}
	m2 := open(t, Config{ContextsFile: writeFile(t, "c", "client udp:* "+reader+"\n")})
	if got := m2.SIDs().String(m2.Subject(m2.Generation(), p)); got != nobody {
		t.Errorf("UDP without an address: %s", got)
	}
}

func TestContextsFileReplacesTheBuiltinLine(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", "# nothing\n")})
	if got := m.SIDs().String(m.Subject(m.Generation(), tcp("127.0.0.1"))); got != nobody {
		t.Errorf("%s, want unlabeled", got)
	}
}

func TestLabelsOfNewItems(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", sampleContexts)})
	g := m.NewEpoch().Begin()
	for _, c := range []struct{ key, source, want string }{
		{"plain", client1, "system_u:object_r:kv_item_t:s0:c1"},
		{"session:1", client1, "system_u:object_r:kv_session_t:s0:c1"}, // the level is the client's
		{"session:1", client2, "system_u:object_r:kv_session_t:s0:c2"},
		{"session:fixed", client1, "system_u:object_r:kv_session_t:s0:c1"}, // the first line wins
		{"a b*", client1, "system_u:object_r:kv_item_t:s0:c5"},             // its own level
		{"a b*z", client1, "system_u:object_r:kv_item_t:s0:c5"},
		{"a bz", client1, "system_u:object_r:kv_item_t:s0:c1"},
		{"x1", client1, "system_u:object_r:kv_item_t:s0:c1.c3"}, // canonical
		{"x\x00", client1, "system_u:object_r:kv_item_t:s0:c1.c3"},
		{"xx1", client1, "system_u:object_r:kv_item_t:s0:c1"},
		{"session:1", admin, "system_u:object_r:kv_session_t:s0"},
	} {
		q := Question{Kind: AskCreate, Source: m.sid(t, c.source), Selector: g.Selector([]byte(c.key))}
		a := m.Decide(g, q)
		if got := m.SIDs().String(a.SID); got != c.want || a.Err != nil {
			t.Errorf("%q by %s: %s (%v), want %s", c.key, c.source, got, a.Err, c.want)
		}
		if b, ok := m.Cached(g, q); !ok || b != a {
			t.Errorf("%q: remembered %+v, %v", c.key, b, ok)
		}
	}
}

func TestSelectorDoesNotAllocate(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", sampleContexts)})
	g := m.Generation()
	keys := [][]byte{[]byte("session:1"), []byte("other"), []byte(strings.Repeat("k", 250))}
	p := tcp("10.1.2.3")
	if a := testing.AllocsPerRun(1000, func() {
		for _, k := range keys {
			g.Selector(k)
		}
		m.SIDs().Release(m.Subject(g, p))
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
	if s := (&Generation{}).Selector(keys[0]); s != 0 {
		t.Errorf("no generation at all selects %d", s)
	}
}

// The kernel's label, where it counts, is final, and only "no label" goes on.
func TestKernelPeerLabels(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", sampleContexts)})
	p := unixPeer(1001, 0)
	p.FD = 77
	for _, c := range []struct {
		label string
		err   error
		want  string
	}{
		{"system_u:system_r:kv_client_t:s0:c2", nil, "system_u:system_r:kv_client_t:s0:c2"},
		{"any_u:any_r:any_t", nil, "any_u:any_r:any_t"}, // acts as unlabeled if the policy does not know it
		{"", errnoNoLabel, "system_u:system_r:kv_client_t:s0:c1"},
		{"", errOther, ""},
		{"", nil, ""},
		{"unconfined", nil, ""},
		{"/usr/bin/man (enforce)", nil, ""},
		{":a://b c", nil, ""},
		{"a:b:c\x00", nil, ""},
		{strings.Repeat("a:", 3000), nil, ""},
	} {
		asked := 0
		m.label = func(fd int) (string, error) {
			asked++
			if fd != 77 {
				t.Errorf("fd %d", fd)
			}
			return c.label, c.err
		}
		m.peers = peersFile
		s := m.Subject(m.Generation(), p)
		if got := m.SIDs().String(s); got != client1 || asked != 0 {
			t.Errorf("labels do not count: %s, asked %d times", got, asked)
		}
		m.SIDs().Release(s)
		m.peers = peersKernel
		s = m.Subject(m.Generation(), p)
		if got := m.SIDs().String(s); got != c.want || asked != 1 {
			t.Errorf("%q, %v: %q, want %q (asked %d times)", c.label, c.err, got, c.want, asked)
		}
		m.SIDs().Release(s)
	}
	m.peers = peersKernel
	for _, c := range []struct{ label, addr, want string }{
		{"system_u:system_r:kv_client_t:s0:c2", "192.0.2.1", "system_u:system_r:kv_client_t:s0:c2"},
		{"system_u:system_r:kv_client_t:s0:c2", "10.1.2.3", "system_u:system_r:kv_client_t:s0:c2"}, // final
		{"", "10.1.2.3", "system_u:system_r:kv_reader_t:s0:c9"},
		{"", "192.0.2.1", "system_u:object_r:unlabeled_t:s0"},
		{"?", "10.1.2.3", ""},
		{"unconfined", "10.1.2.3", ""},
	} {
		d := &Peer{FD: -1, UDP: true, Label: c.label, Addr: netip.AddrPortFrom(netip.MustParseAddr(c.addr), 9)}
		s := m.Subject(m.Generation(), d)
		if got := m.SIDs().String(s); got != c.want {
			t.Errorf("a datagram from %s with label %q: %q, want %q", c.addr, c.label, got, c.want)
		}
		m.SIDs().Release(s)
	}
	m.peers = peersFile
	d := &Peer{FD: -1, UDP: true, Label: "system_u:system_r:kv_client_t:s0:c2", Addr: netip.MustParseAddrPort("10.1.2.3:9")}
	if got := m.SIDs().String(m.Subject(m.Generation(), d)); got != "system_u:system_r:kv_reader_t:s0:c9" || m.KernelLabels() {
		t.Errorf("the label of a datagram counts though labels do not: %s", got)
	}
	m.peers = peersKernel
	p2 := *p
	p2.FD = -1
	m.label = func(int) (string, error) { t.Error("asked without a socket"); return "", nil }
	if got := m.SIDs().String(m.Subject(m.Generation(), &p2)); got != client1 {
		t.Errorf("no socket: %s", got)
	}
}

// A label of the kernel that a policy file does not know acts as unlabeled.
func TestInvalidContextsActAsUnlabeled(t *testing.T) {
	m := open(t, Config{})
	g := m.NewEpoch().Begin()
	foreign, err := m.SIDs().Intern("x_u:x_r:x_t:s0")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(s, o avc.SID) avc.Perms {
		return m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: o}).Decision.Allowed
	}
	if p := ask(foreign, m.sid(t, item)); p != 0 {
		t.Errorf("an unknown client may %v", avc.ClassItem.PermNames(p))
	}
	if p := ask(m.sid(t, admin), foreign); p != avc.Getattr|avc.Remove|avc.RelabelFrom {
		t.Errorf("an administrator may %v on an unknown label", avc.ClassItem.PermNames(p))
	}
	if p := ask(m.sid(t, plain), foreign); p != 0 {
		t.Errorf("anybody may %v on an unknown label", avc.ClassItem.PermNames(p))
	}
}

func FuzzContextsFile(f *testing.F) {
	f.Add(sampleContexts)
	f.Add("client uid:1 x\nkv_item \\")
	f.Add("kv_item a\\ b c # d")
	f.Fuzz(func(t *testing.T, s string) {
		cs, err := parseContexts("F", []byte(s))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "F:") {
				t.Errorf("no place in %v", err)
			}
			return
		}
		if n := len(cs.clients) + len(cs.items); n > strings.Count(s, "\n")+1 {
			t.Errorf("%d lines of %d", n, strings.Count(s, "\n")+1)
		}
		for _, p := range []*Peer{tcp("10.1.2.3"), unixPeer(1, 1), {FD: -1, UDP: true}} {
			if i := cs.client(p); i >= 0 && cs.clients[i].kind == KindAny && p.UDP {
				t.Error("a bare * matches UDP")
			}
		}
		cs.item([]byte("session:1"))
	})
}
