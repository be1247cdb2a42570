package main

import (
	"os"
	"strings"
	"testing"

	"sememcached/demo"
)

// TestDemo plays all acts; each answer is checked by the acts themselves, and what
// the audience sees is demo/demo.txt (-update writes it).
func TestDemo(t *testing.T) {
	var out, errs strings.Builder
	if code := run([]string{"demo"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s\n%s", code, &errs, &out)
	}
	if *update {
		if err := os.WriteFile("demo/demo.txt", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("demo/demo.txt")
	if err != nil || string(want) != out.String() {
		t.Errorf("the demo shows something else than demo/demo.txt (%v); go test -run TestDemo -update .", err)
	}
	if n := strings.Count(out.String(), "CLIENT_ERROR access denied"); n < 20 {
		t.Errorf("%d denials are shown", n)
	}
	// An act that is not true fails.
	out.Reset()
	if code := run([]string{"demo", "help"}, &out, &errs); code != 0 || strings.Count(out.String(), "\n  ") != len(demo.Names) {
		t.Errorf("exit %d\n%s", code, &out)
	}
	if code := run([]string{"demo", "jabba"}, &out, &errs); code != exitUsage {
		t.Errorf("exit %d", code)
	}
}
