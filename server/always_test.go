package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/engine"
	"sememcached/server"
)

// TestAlwaysPipelines: stores that wait for the disk keep the order and the text of
// the replies, whatever stands around them and however the bytes arrive.
func TestAlwaysPipelines(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			p := plan{
				set:  server.Settings{Threads: 2},
				data: &engine.DataConfig{Path: filepath.Join(t.TempDir(), "data"), Sync: engine.SyncAlways},
			}
			if network == "unix" {
				p.set.UnixPath = filepath.Join(t.TempDir(), "s")
			}
			r := start(t, p)
			w := r.dial()
			w.ask("watch mutations\r\n", "OK\r\n")
			big := strings.Repeat("b", 40000)
			send := "set a 1 0 2\r\n10\r\nset a 1 0 2 noreply\r\n20\r\nincr a 1\r\nadd a 0 0 1\r\nx\r\nreplace none 0 0 1\r\nx\r\n" +
				"append a 0 0 1\r\n+\r\nprepend a 0 0 1\r\n-\r\nget a\r\ncas a 0 0 1 1\r\nx\r\ncas none 0 0 1 1\r\nx\r\n" +
				"ms a 1 T0\r\ny\r\nms a 1 q\r\nz\r\nmn\r\nset b 0 0 40000\r\n" + big + "\r\nset c 0 0 1\r\nxx\r\nset c 0 0 1\r\nc\r\nmg c v\r\nbad\r\n" +
				"set a 0 0 1\r\ne\r\ndelete a\r\nget a b\r\n"
			want := "STORED\r\n21\r\nNOT_STORED\r\nNOT_STORED\r\nSTORED\r\nSTORED\r\nVALUE a 1 4\r\n-21+\r\nEND\r\nEXISTS\r\nNOT_FOUND\r\n" +
				"HD\r\nMN\r\nSTORED\r\nCLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nSTORED\r\nVA 1\r\nc\r\nERROR\r\n" +
				"STORED\r\nDELETED\r\nVALUE b 0 40000\r\n" + big + "\r\nEND\r\n"
			for _, piece := range []int{len(send), 7} {
				c := r.dial()
				for rest := send; rest != ""; {
					n := min(piece, len(rest))
					if len(rest) > 30000 && len(rest) < 40400 {
						n = min(5000, len(rest))
					}
					c.send(rest[:n])
					rest = rest[n:]
				}
				c.expect(want)
				// The last command of one who sends nothing more is answered too.
				c.send("set d 0 0 1\r\nd\r\nset d 0 0 1\r\ne")
				if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				c.expect("STORED\r\n")
				c.expectClosed()
			}
			for n := 0; n < 2; {
				line, err := w.r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, "type=item_store key=d status=stored cmd=set") {
					n++
				}
			}
		})
	}
}

// TestAlwaysMany: many connections store at once, and each is told of its own.
func TestAlwaysMany(t *testing.T) {
	r := start(t, plan{
		set:  server.Settings{Threads: 2},
		data: &engine.DataConfig{Path: filepath.Join(t.TempDir(), "data"), Sync: engine.SyncAlways},
	})
	clients := make([]*client, 100)
	for i := range clients {
		clients[i] = r.dial()
	}
	for round := range 20 {
		for i, c := range clients {
			if (i+round)%17 == 0 { // one that leaves while it waits; its slot is another's then
				c.send("set gone 0 0 1\r\ng\r\n")
				c.Close()
				clients[i] = r.dial()
				c = clients[i]
			}
			c.send(fmt.Sprintf("set k%d 0 0 3\r\n%03d\r\nadd k%d 0 0 1\r\nx\r\nget k%d\r\n", i, round, i, i))
		}
		for i, c := range clients {
			c.expect(fmt.Sprintf("STORED\r\nNOT_STORED\r\nVALUE k%d 0 3\r\n%03d\r\nEND\r\n", i, round))
		}
	}
	if n := clients[0].stat(" data", "waits"); n == "" || n == "0" {
		t.Errorf("expected that some have waited for the disk, found waits=%q", n)
	}
}
