package differ

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// patience is how long a reply may take.
const patience = 60 * time.Second

// side is one of the two servers, with a connection for text and one for frames.
type side struct {
	addr        string
	text, frame *conn
}

type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, fmt.Errorf("differ: %w", err)
	}
	return &conn{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// dialFrames opens a connection and settles that it speaks the binary protocol: a
// first byte of anything else would make it a text one.
func dialFrames(addr string) (*conn, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	reply := make([]byte, len(frame(0x0a, 0, 0, "", "", "")))
	if err = c.SetDeadline(time.Now().Add(patience)); err == nil {
		if _, err = io.WriteString(c, frame(0x0a, 0, 0, "", "", "")); err == nil {
			_, err = io.ReadFull(c.r, reply)
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("differ: %s: a noop: %w", addr, err)
	}
	return c, nil
}

func dialSide(addr string) (s *side, err error) {
	s = &side{addr: addr}
	if s.text, err = dial(addr); err != nil {
		return nil, err
	}
	if s.frame, err = dialFrames(addr); err != nil {
		s.text.Close()
		return nil, err
	}
	return s, nil
}

func (s *side) close() {
	s.text.Close()
	s.frame.Close()
}

// endMark is the opaque of the noop that ends a batch of frames.
const endMark = 0xdeadbeef

// exchange sends the batch for server n and reads what it answers.
func (s *side) exchange(b *batch, n int, bin bool, cuts []int) (*reply, error) {
	c := &s.text
	mark := "mn\r\n"
	if bin {
		c, mark = &s.frame, frame(0x0a, endMark, 0, "", "", "")
	}
	wire := b.wire[n].String()
	if !b.closes {
		wire += mark
	}
	if err := (*c).SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		(*c).send(wire, cuts)
	}()
	var rep *reply
	var err error
	if bin {
		rep, err = (*c).readFrames(b.closes)
	} else {
		rep, err = (*c).readText(b.closes)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.addr, err)
	}
	if b.closes {
		(*c).Close()
		<-sent
		again := dial
		if bin {
			again = dialFrames
		}
		if *c, err = again(s.addr); err != nil {
			return nil, err
		}
	}
	<-sent
	return rep, nil
}

// send writes s in pieces. An error is for the reader to find.
func (c *conn) send(s string, cuts []int) {
	at := 0
	for _, k := range slices.Concat(cuts, []int{len(s)}) {
		if k = min(k, len(s)); k <= at {
			continue
		}
		if _, err := io.WriteString(c.Conn, s[at:k]); err != nil {
			return
		}
		at = k
	}
}

// ended says whether an error is the end of a connection, in either way: a server
// that closes with input unread resets.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || strings.Contains(err.Error(), "connection reset") || strings.Contains(err.Error(), "broken pipe")
}

// readText reads lines up to that of mn, or to the end.
func (c *conn) readText(toEnd bool) (*reply, error) {
	rep := &reply{}
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err == nil && line == "MN\r\n" && !toEnd {
			rep.text = b.String()
			break
		}
		b.WriteString(line)
		if err != nil {
			if !toEnd || !ended(err) {
				return nil, fmt.Errorf("%w after %s", err, short(b.String()))
			}
			rep.text = b.String()
			break
		}
	}
	rep.size = len(rep.text)
	return rep, nil
}

// readFrames does so for the binary protocol.
func (c *conn) readFrames(toEnd bool) (*reply, error) {
	rep := &reply{packets: []packet{}}
	for {
		p, err := readPacket(c.r)
		if err != nil {
			if !toEnd || !ended(err) {
				return nil, fmt.Errorf("%w after %v", err, rep.packets)
			}
			return rep, nil
		}
		rep.size += headerLen + len(p.extras) + len(p.key) + len(p.value)
		if p.opaque == endMark && !toEnd {
			return rep, nil
		}
		rep.packets = append(rep.packets, p)
	}
}

// flush empties the server.
func (s *side) flush() error {
	_, err := s.ask("flush_all\r\n")
	return err
}

// ask sends text and returns what is answered.
func (s *side) ask(text string) (string, error) {
	b := &batch{}
	b.put(text)
	rep, err := s.exchange(b, 0, false, nil)
	if err != nil {
		return "", err
	}
	return rep.text, nil
}

func (s *side) stats() (map[string]string, error) {
	text, err := s.ask("stats\r\n")
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 {
			m[f[1]] = f[2]
		}
	}
	return m, err
}

const headerLen = 24

// packet is one reply of the binary protocol.
type packet struct {
	opcode, status int
	opaque         uint32
	cas            uint64
	extras, key    string
	value          string
}

func (p packet) String() string {
	return fmt.Sprintf("{%02x status %02x opaque %x extras %x key %q value %s}", p.opcode, p.status, p.opaque, p.extras, p.key, short(p.value))
}

// frame is a request of the binary protocol.
func frame(opcode byte, opaque uint32, cas uint64, extras, key, value string) string {
	b := []byte{0x80, opcode}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, byte(len(extras)), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(extras)+len(key)+len(value)))
	b = binary.BigEndian.AppendUint32(b, opaque)
	b = binary.BigEndian.AppendUint64(b, cas)
	return string(b) + extras + key + value
}

func u32(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
func u64(v uint64) string { return string(binary.BigEndian.AppendUint64(nil, v)) }

func readPacket(r io.Reader) (p packet, err error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return p, err
	}
	if h[0] != 0x81 {
		return p, fmt.Errorf("expected magic 81, found %x", h)
	}
	body := make([]byte, binary.BigEndian.Uint32(h[8:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return p, err
	}
	ext, key := int(h[4]), int(binary.BigEndian.Uint16(h[2:]))
	if ext+key > len(body) {
		return p, fmt.Errorf("lengths do not fit: %x", h)
	}
	return packet{
		opcode: int(h[1]), status: int(binary.BigEndian.Uint16(h[6:])),
		opaque: binary.BigEndian.Uint32(h[12:]), cas: binary.BigEndian.Uint64(h[16:]),
		extras: string(body[:ext]), key: string(body[ext : ext+key]), value: string(body[ext+key:]),
	}, nil
}
