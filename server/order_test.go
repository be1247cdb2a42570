package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sememcached/engine"
	"sememcached/server"
)

// TestShortBeforeLarge: a short reply leaves before the large values of the connections
// that the same turn serves after it.
func TestShortBeforeLarge(t *testing.T) {
	r := start(t, plan{set: server.Settings{UnixPath: filepath.Join(t.TempDir(), "s")}}) // what is sent there is there at once
	large := strings.Repeat("v", 100<<10)
	fill := r.dial()
	for key, value := range map[string]string{"short": "s", "large": large} {
		fill.ask(fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(value), value), "STORED\r\n")
	}
	quick, slow, end := r.dial(), r.dial(), r.dial()
	for _, c := range []*client{quick, slow, end} {
		c.ask("get none\r\n", "END\r\n") // the loop has it
	}
	// The loop is held twice: until all have asked, so that one turn serves them, and
	// when it comes to the last of them.
	held, goOn := make(chan string), make(chan struct{})
	r.eng.watch(func(c *engine.Call) {
		if key := string(c.Key); key == "first" || key == "last" {
			held <- key
			<-goOn
		}
	})
	fill.send("get first\r\n")
	<-held
	quick.send("get short\r\n")
	slow.send("get large\r\n")
	end.send("get last\r\n")
	goOn <- struct{}{}
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	if key := <-held; key != "last" {
		t.Fatalf("held at %q, expected last", key)
	}
	quick.expect("VALUE short 0 1\r\ns\r\nEND\r\n")
	release()
	slow.expect(fmt.Sprintf("VALUE large 0 %d\r\n%s\r\nEND\r\n", len(large), large))
	end.expect("END\r\n")
	fill.expect("END\r\n")
}
