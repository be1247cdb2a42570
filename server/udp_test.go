package server_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"sememcached/server"
)

// udpClient is a socket that speaks to a server's UDP port.
type udpClient struct {
	t *testing.T
	net.Conn
}

func dialUDP(t *testing.T, r *rig) *udpClient {
	t.Helper()
	// The line of the statistics is the only place where the port can be seen.
	c := r.dial()
	var port string
	for line := range strings.Lines(c.stats(" conns")) {
		if _, addr, ok := strings.Cut(line, ":addr udp:127.0.0.1:"); ok {
			port = strings.TrimSpace(addr)
		}
	}
	c.Close()
	u, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return &udpClient{t, u}
}

func (u *udpClient) send(id, seq, total uint16, payload string) {
	u.t.Helper()
	h := binary.BigEndian.AppendUint16(nil, id)
	h = binary.BigEndian.AppendUint16(h, seq)
	h = binary.BigEndian.AppendUint16(h, total)
	h = append(h, 0, 0)
	if _, err := u.Write(append(h, payload...)); err != nil {
		u.t.Fatal(err)
	}
}

// message reads the datagrams of one reply and checks their frames.
func (u *udpClient) message(id uint16) string {
	u.t.Helper()
	_ = u.SetReadDeadline(time.Now().Add(patience))
	parts := map[uint16]string{}
	total := uint16(1)
	for len(parts) < int(total) {
		var buf [2048]byte
		n, err := u.Read(buf[:])
		if err != nil {
			u.t.Fatalf("after %d of %d datagrams: %v", len(parts), total, err)
		}
		if n < 8 || n > 1400 || binary.BigEndian.Uint16(buf[:]) != id || buf[6] != 0 || buf[7] != 0 {
			u.t.Fatalf("a datagram of %d bytes: % x", n, buf[:min(n, 8)])
		}
		total = binary.BigEndian.Uint16(buf[4:])
		parts[binary.BigEndian.Uint16(buf[2:])] = string(buf[8:n])
	}
	var b strings.Builder
	for i := range total {
		b.WriteString(parts[i])
	}
	return b.String()
}

func (u *udpClient) ask(request, want string) {
	u.t.Helper()
	u.send(77, 0, 1, request)
	if got := u.message(77); got != want {
		u.t.Errorf("%q:\n got %.200q\nwant %.200q", request, got, want)
	}
}

func (u *udpClient) silent(what string) {
	u.t.Helper()
	_ = u.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	var buf [2048]byte
	if n, err := u.Read(buf[:]); err == nil {
		u.t.Errorf("%s: answered % x", what, buf[:n])
	}
}

func TestUDP(t *testing.T) {
	r := start(t, plan{set: server.Settings{UDPPort: -1}})
	u := dialUDP(t, r)
	big := strings.Repeat("0123456789", 3000)
	r.dial().ask(fmt.Sprintf("set big 0 0 %d\r\n%s\r\n", len(big), big), "STORED\r\n")
	u.ask("set a 5 0 1\r\nx\r\n", "STORED\r\n")
	u.ask("get a\r\n", "VALUE a 5 1\r\nx\r\nEND\r\n")
	u.ask("mg a v k O1\r\n", "VA 1 ka O1\r\nx\r\n")
	u.ask("get big\r\n", fmt.Sprintf("VALUE big 0 %d\r\n%s\r\nEND\r\n", len(big), big))
	u.ask(string(frame(0x0b, "", "")), "\x81\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x001.6.45")
	u.ask("stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n") // computed elsewhere
	for _, refused := range []string{"watch\r\n", "shutdown\r\n", "lru_crawler metadump all\r\n", "lru_crawler mgdump all\r\n", "stats cachedump 1 0\r\n"} {
		u.ask(refused, "CLIENT_ERROR not available over UDP\r\n")
	}
	// Each command is answered by a message of its own.
	u.send(5, 0, 1, "get a\r\nget none\r\n")
	if got := u.message(5) + u.message(5); got != "VALUE a 5 1\r\nx\r\nEND\r\nEND\r\n" {
		t.Errorf("two commands: %q", got)
	}
	for what, send := range map[string]func(){
		"part of a request": func() { u.send(9, 0, 2, "get a\r\n") },
		"no line end":       func() { u.send(9, 0, 1, "get a") },
		"no data":           func() { u.send(9, 0, 1, "set b 0 0 100000\r\nabc") },
		"a frame alone":     func() { u.send(9, 0, 1, "") },
		"half a frame":      func() { _, _ = u.Write([]byte("abc")) },
		"quit":              func() { u.send(9, 0, 1, "quit\r\n") },
		"noreply":           func() { u.send(9, 0, 1, "set c 0 0 1 noreply\r\nx\r\n") },
	} {
		send()
		u.silent(what)
	}
	u.ask("get b c\r\n", "VALUE c 0 1\r\nx\r\nEND\r\n")
	open := r.eng.gate("slow")
	u.send(6, 0, 1, "get slow\r\n")
	u.ask("get a\r\n", "VALUE a 5 1\r\nx\r\nEND\r\n") // others go on
	open()
	if got := u.message(6); got != "END\r\n" {
		t.Errorf("parked: %q", got)
	}
	until(t, "no connection is left", func() bool { n, _, _, _ := r.srv.Held(); return n <= 1 })
}

// frame is a request of the binary protocol without extras.
func frame(opcode byte, key, value string) []byte {
	b := []byte{0x80, opcode}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)+len(value)))
	b = append(b, make([]byte, 12)...)
	return append(append(b, key...), value...)
}

// TestUDPHostile: datagrams that nobody should send do no harm, and get no more than
// one reply for each of their lines.
func TestUDPHostile(t *testing.T) {
	r := start(t, plan{set: server.Settings{UDPPort: -1}})
	u := dialUDP(t, r)
	rnd := rand.New(rand.NewPCG(7, 7))
	value := strings.Repeat("v", 60_000)
	for i := range 3000 {
		b := make([]byte, rnd.IntN(200))
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		switch i % 5 {
		case 0: // any bytes
		case 1: // a frame, then any bytes
			copy(b, "\x00\x05\x00\x00\x00\x01\x00\x00")
		case 2: // the same in the binary protocol
			b = append([]byte("\x00\x05\x00\x00\x00\x01\x00\x00\x80"), b...)
		case 3: // parts in any order, of any number
			b = append([]byte{0, 5, 0, byte(rnd.IntN(4)), 0, byte(rnd.IntN(4)), 0, 0}, "set part 0 0 5\r\nhello\r\n"...)
		case 4: // what is longer than its datagram
			b = append([]byte("\x00\x05\x00\x00\x00\x01\x00\x00"), fmt.Sprintf("set h 0 0 %d noreply\r\n%s", 1000+rnd.IntN(1<<31-2000), b)...)
		}
		_, _ = u.Write(b) // a full buffer is as good as a lost datagram
	}
	fresh := dialUDP(t, r)
	fresh.ask("get h\r\n", "END\r\n")
	until(t, "the large datagram", func() bool { // which may be lost like any other
		_, _ = u.Write([]byte("\x00\x05\x00\x00\x00\x01\x00\x00set big 0 0 60000 noreply\r\n" + value + "\r\n"))
		return r.store.Stats().Bytes > uint64(len(value))
	})
	fresh.ask("get big\r\n", "VALUE big 0 60000\r\n"+value+"\r\nEND\r\n")
	until(t, "no connection is left", func() bool { n, _, _, _ := r.srv.Held(); return n <= 1 })
}

// TestUDPOff: without -U nothing listens.
func TestUDPOff(t *testing.T) {
	r := start(t, plan{})
	if s := r.dial().stats(" conns"); strings.Contains(s, "udp") {
		t.Errorf("stats conns:\n%s", s)
	}
	u, err := net.Dial("udp", r.srv.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_ = u.SetDeadline(time.Now().Add(patience))
	if _, err := u.Write([]byte("\x00\x01\x00\x00\x00\x01\x00\x00version\r\n")); err != nil {
		t.Fatal(err)
	}
	var buf [100]byte
	if n, err := u.Read(buf[:]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}
