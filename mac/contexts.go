package mac

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// contexts is a contexts file as it was read: syntax only, tied to no policy.
//
//	client   KIND:PATTERN   CONTEXT
//	client   *              CONTEXT
//	kv_item  PATTERN        CONTEXT
//
// Fields are separated by blanks; # begins a comment where a field could begin;
// in a pattern \ takes the next character as it is, a blank too. The first line
// of the file that matches decides.
type contexts struct {
	file    string // "" for the built-in line
	clients []clientLine
	items   []itemLine
	named   map[string]bool // the contexts of all lines
}

// clientLine gives a context to a client.
type clientLine struct {
	line    int
	kind    IdentityKind
	all     bool // uid, gid, cidr, udp: the pattern is *
	id      uint32
	prefix  netip.Prefix
	glob    glob
	context string
}

// itemLine gives a context to a new item by its key.
type itemLine struct {
	line    int
	glob    glob
	context string
}

// plainContext is the context of every client when there is no contexts file.
const plainContext = "system_u:system_r:kv_plain_t:s0"

// builtinContexts is what a contexts file replaces.
func builtinContexts() *contexts {
	return &contexts{clients: []clientLine{{kind: KindAny, context: plainContext}}}
}

// maxContextsFile bounds a contexts file, in bytes.
const maxContextsFile = 16 << 20

func readContexts(file string) (*contexts, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxContextsFile {
		return nil, fmt.Errorf("%s: expected at most %d bytes, found %d", file, maxContextsFile, fi.Size())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseContexts(file, b)
}

func parseContexts(file string, b []byte) (*contexts, error) {
	cs := &contexts{file: file}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if err := cs.parseLine(n, string(bytes.TrimRight(line, "\r\n"))); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	cs.named = make(map[string]bool, len(cs.clients)+len(cs.items))
	for i := range cs.clients {
		cs.named[cs.clients[i].context] = true
	}
	for i := range cs.items {
		cs.named[cs.items[i].context] = true
	}
	return cs, nil
}

func (cs *contexts) parseLine(n int, s string) error {
	f := splitFields(s)
	if len(f) == 0 {
		return nil
	}
	if f[0] != "client" && f[0] != "kv_item" {
		return fmt.Errorf("expected client or kv_item, found %q", f[0])
	}
	if len(f) != 3 {
		return fmt.Errorf("expected three fields (%s PATTERN CONTEXT), found %d", f[0], len(f))
	}
	if f[0] == "kv_item" {
		g, err := compileGlob(f[1])
		if err != nil {
			return err
		}
		cs.items = append(cs.items, itemLine{line: n, glob: g, context: f[2]})
		return nil
	}
	l := clientLine{line: n, context: f[2]}
	if err := l.parsePattern(f[1]); err != nil {
		return err
	}
	cs.clients = append(cs.clients, l)
	return nil
}

// splitFields splits a line at blanks; a \ keeps the next byte in its field and
// stays there, for the pattern to see. A field that begins with # ends the line.
func splitFields(s string) []string {
	var fields []string
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		start := i
		for i < len(s) && s[i] != ' ' && s[i] != '\t' {
			if s[i] == '\\' && i+1 < len(s) {
				i++
			}
			i++
		}
		fields = append(fields, s[start:i])
	}
	return fields
}

func (l *clientLine) parsePattern(s string) error {
	if s == "*" {
		l.kind = KindAny
		return nil
	}
	word, pattern, ok := strings.Cut(s, ":")
	for k := KindUID; ok && int(k) < len(kindNames); k++ {
		if kindNames[k] == word {
			l.kind = k
		}
	}
	if l.kind == KindAny {
		return fmt.Errorf("expected * or KIND:PATTERN with KIND one of %s, found %q", strings.Join(kindNames[1:], " "), s)
	}
	if pattern == "" {
		return fmt.Errorf("expected a pattern after %s:, found nothing", word)
	}
	switch l.kind {
	case KindUID, KindGID:
		if l.all = pattern == "*"; l.all {
			return nil
		}
		id, err := strconv.ParseUint(pattern, 10, 32)
		if err != nil || id == 1<<32-1 {
			return fmt.Errorf("expected a number or * after %s:, found %q", word, pattern)
		}
		l.id = uint32(id)
		return nil
	case KindCIDR, KindUDP:
		if l.all = pattern == "*"; l.all {
			return nil
		}
		var err error
		l.prefix, err = parsePrefix(pattern)
		return err
	}
	switch l.kind {
	case KindSPIFFE:
		if !startsSPIFFE(pattern) {
			return fmt.Errorf("expected the pattern of a SPIFFE ID, as spiffe:spiffe://DOMAIN/PATH, found %q, which is nobody's", s)
		}
	case KindDNS:
		pattern = strings.ToLower(pattern) // as the names of clients are
	}
	var err error
	l.glob, err = compileGlob(pattern)
	return err
}

// startsSPIFFE reports whether any SPIFFE ID may match a pattern, by its beginning.
func startsSPIFFE(pattern string) bool {
	const scheme = "spiffe://"
	i := strings.IndexAny(pattern, `*?\`)
	if i < 0 {
		return strings.HasPrefix(pattern, scheme)
	}
	return strings.HasPrefix(pattern[:i], scheme) || strings.HasPrefix(scheme, pattern[:i])
}

// parsePrefix reads ADDRESS/BITS, or one ADDRESS.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("expected an address or ADDRESS/BITS, found %q", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("expected an address or ADDRESS/BITS, found %q", s)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("expected an IPv4 network as a.b.c.d/BITS, found %q", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("expected a network, as %s, found %q with host bits set", p.Masked(), s)
	}
	return p, nil
}

// client is the first line that matches any identity of p, or -1.
func (cs *contexts) client(p *Peer) int {
	for i := range cs.clients {
		if cs.clients[i].matches(p) {
			return i
		}
	}
	return -1
}

// item is the first line whose pattern matches key, or -1.
func (cs *contexts) item(key []byte) int {
	for i := range cs.items {
		if match(cs.items[i].glob, key) {
			return i
		}
	}
	return -1
}
