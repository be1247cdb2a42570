package chat_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sememcached/internal/chat"
)

// parrot serves a connection: it answers "as" with its name, "twice" with two
// lines, "bytes" with three odd bytes, "quit" by closing, and echoes the rest.
func parrot(name string, conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		answer := line
		switch strings.TrimSpace(line) {
		case "as":
			answer = name + "\r\n"
		case "twice":
			answer = "one\r\ntwo\r\n"
		case "bytes":
			answer = "\x00\xff\n"
		case "silence":
			continue
		case "quit":
			return
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// runner connects to parrots over pipes, which have no buffers at all.
func runner() *chat.Runner {
	return &chat.Runner{
		Dial: func(as string) (net.Conn, error) {
			near, far := net.Pipe()
			go parrot("I am "+as, far)
			return near, nil
		},
		Policy:  func(string) error { return nil },
		At:      func(string) error { return nil },
		Audit:   func() (string, error) { return `avc: denied { read } for pid=1 key="k" tclass=kv_item`, nil },
		Timeout: 100 * time.Millisecond,
		Quiet:   20 * time.Millisecond,
	}
}

const good = `# good.chat
policy p
as one
> as
< I am one

as two
at +1s
> as
> hello
> "exact\n"
>
< I am two
< hello
< "exact\n"
<
> twice
< "one\r\ntwo\r\n"
>x 62 79 74 65 73 0a  # bytes
<x 00 ff              # two odd ones
<x 0a
audit denied { read } key="k"
as one
> still here
< still here
> quit
closed
> as
< I am one
`

func TestRun(t *testing.T) {
	script, err := chat.Parse("good.chat", good)
	if err != nil {
		t.Fatal(err)
	}
	for _, split := range []func([]byte) [][]byte{nil, func(b []byte) (pieces [][]byte) {
		for i := range b {
			pieces = append(pieces, b[i:i+1])
		}
		return pieces
	}} {
		r := runner()
		r.Split = split
		if err := r.Run(script); err != nil {
			t.Error(err)
		}
	}
	// The same over sockets, which can be closed by half.
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go parrot("I am one", conn)
		}
	}()
	r := runner()
	r.Dial = func(string) (net.Conn, error) { return net.Dial("unix", ln.Addr().String()) }
	script, err = chat.Parse("unix.chat", "as one\n> as\n< I am one\n> quit\nclosed\n> hello\n< hello\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(script); err != nil {
		t.Error(err)
	}
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"> twice\n< one\n< three\n", "f:3: the reply differs (-want +got), then nothing for 100ms\n> twice\n  one\n- three\n+ two"},
		{"> twice\n< one\n< tow\n", "f:3: the reply differs (-want +got)\n> twice\n  one\n- tow\n+ two"},
		{"as x\n> a\n< b\n", "f:3: the reply differs (-want +got)\nas x\n> a\n- b\n+ a"},
		{"> a\n> quit\n< a\n< b\n", "f:4: the reply differs (-want +got), then the server closed\n> a\n> quit\n  a\n- b"},
		{">x 62797465730a\n<x 00 fe 0a\n", "f:2: the reply differs (-want +got)\n>x 62797465730a\n- 00 fe 0a\n+ 00 ff 0a"},
		{"> bytes\n< \"\\x00\\xfe\\n\"\n", "f:2: the reply differs (-want +got)\n> bytes\n- \"\\x00\\xfe\\n\"\n+ \"\\x00\\xff\\n\""},
		{"> twice\n< one\n", "f:2: client \"\" received what the transcript does not expect:\n+ two\n"},
		{"> silence\n< one\n", "f:2: the reply differs (-want +got), then nothing for 100ms\n> silence\n- one"},
		{"> silence\nclosed\n", "f:2: expected the server to close, it is silent for 100ms after \"\""},
		{"audit granted\n", "f:1: audit record differs (-want +got)\n- granted\n+ avc: denied { read } for pid=1 key=\"k\" tclass=kv_item"},
	} {
		script, err := chat.Parse("f", c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if err := runner().Run(script); err == nil || err.Error() != c.want {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
	script, err := chat.Parse("f", "policy x\n")
	if err != nil {
		t.Fatal(err)
	}
	bare := chat.Runner{}
	if err := bare.Run(script); err == nil || err.Error() != `f:1: this runner cannot do "policy x"` {
		t.Error(err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\n\n>> a\n", `f:3: expected #, >, >x, <, <x, closed, as, at, policy or audit, found ">>"`},
		{" > a\n", `f:1: expected a word at the start of the line, found " > a"`},
		{"as\n", `f:1: expected an argument after as`},
		{"<x 0\n", `f:1: expected hexadecimal bytes, found "0": encoding/hex: odd length hex string`},
		{"> \"a\n", `f:1: expected a Go string, found "a: invalid syntax`},
		{"closed now\n", `f:1: expected nothing after closed, found "now"`},
	} {
		if _, err := chat.Parse("f", c.text); err == nil || err.Error() != c.want {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{good, good},
		{"> twice\n", "> twice\n< one\n< two\n"},
		{"# why\n> twice\n< nothing\n\n# then\n> \"q\\\"\\r\\n\"\n> quit\n", "# why\n> twice\n< one\n< two\n\n# then\n> \"q\\\"\\r\\n\"\n> quit\n< q\"\nclosed\n"},
		{"> \"\\\"\\r\\n\"\n> trailing \n>\n< x\n", "> \"\\\"\\r\\n\"\n> trailing \n>\n< \"\\\"\\r\\n\"\n< \"trailing \\r\\n\"\n<\n"},
		{">x 62797465730a\n", ">x 62797465730a\n<x 00 ff 0a\n"},
		{"as a\n> as\nas b\n> as\n< I am a\n", "as a\n> as\n< I am a\nas b\n> as\n< I am b\n"},
	} {
		script, err := chat.Parse("f", c.text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := runner().Update(script)
		if err != nil || got != c.want {
			t.Errorf("%q: %v\ngot:\n%s\nwant:\n%s", c.text, err, got, c.want)
		}
		if err != nil {
			continue
		}
		again, err := chat.Parse("f", got)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if err := runner().Run(again); err != nil {
			t.Errorf("%q after the update: %v", c.text, err)
		}
	}
}

func ExampleRunner() {
	script, err := chat.Parse("echo.chat", "> hello\n< hullo\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(runner().Run(script))
	// Output:
	// echo.chat:2: the reply differs (-want +got)
	// > hello
	// - hullo
	// + hello
}
