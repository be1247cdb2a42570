package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestWatchTellsOfTheRightItem: an event about a large value that arrived while
// others were served is about its own item, and is shown to those who may know of
// that one.
func TestWatchTellsOfTheRightItem(t *testing.T) {
	ts := startServer(t, testConfig{contexts: "client cidr:127.0.3.1 system_u:system_r:kv_client_t:s0:c1\n" +
		"client cidr:127.0.3.2 system_u:system_r:kv_client_t:s0:c2\n" +
		"client cidr:127.0.3.3 system_u:system_r:kv_admin_t:s0-s0:c1\n"})
	one, two, watcher := ts.dialFrom("127.0.3.1"), ts.dialFrom("127.0.3.2"), ts.dialFrom("127.0.3.3")
	one.want("set known 0 0 1\r\nx\r\n", "STORED\r\n")
	if _, err := io.WriteString(watcher, "watch fetchers mutations deletions\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, _ := watcher.r.ReadString('\n'); line != "OK\r\n" {
		t.Fatalf("watch: %q", line)
	}
	value := strings.Repeat("v", 100_000)
	for _, key := range []string{"secret1", "secret2"} {
		if _, err := io.WriteString(two, "set "+key+" 0 0 100000\r\n"+value[:50_000]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		// On every loop somebody else is served.
		for range 4 {
			c := ts.dialFrom("127.0.3.1")
			if _, err := io.WriteString(c, "touch known 0\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c.r, make([]byte, len("TOUCHED\r\n"))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(two, value[50_000:]+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, _ := two.r.ReadString('\n'); line != "STORED\r\n" {
			t.Fatalf("set: %q", line)
		}
	}
	one.want("set last 0 0 1\r\nx\r\n", "STORED\r\n")
	for {
		line, err := watcher.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "secret") {
			t.Errorf("a watcher of c1 is told of an item of c2: %s", line)
		}
		if strings.Contains(line, "type=item_store key=last") {
			break
		}
	}
}
