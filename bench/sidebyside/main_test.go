package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun measures two rows shortly and reads back everything that was written.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("memcached"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no memcached to compare with")
		}
		t.Skip("no memcached to compare with")
	}
	dir := t.TempDir()
	server := filepath.Join(dir, "sememcached")
	if out, err := exec.Command("go", "build", "-o", server, "sememcached").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	t.Setenv("RIVALS", "again="+server+" --mac off")
	err := run([]string{
		"-server", server, "-n", "2", "-time", "30ms", "-warm", "5ms", "-keys", "1000", "-rows", "mget24,get-unix,binary", "-strace=false",
		"-pin=false", "-memory", "1000", "-json", file("j"), "-svg", file("svg"), "-results", file("r.md"),
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	b, err := os.ReadFile(file("j"))
	if err == nil {
		err = json.Unmarshal(b, &rep)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rows) != 3 || rep.Rows[0].Name != "mget24" || len(rep.Rows[0].Against) < 2 || rep.Rows[0].Against[0].CPU.Median <= 0 || len(rep.Memory) != 3 {
		t.Errorf("the report lacks something: %+v", rep)
	}
	md, err := os.ReadFile(file("r.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Against memcached", "## Against again", "## Memory", "## Figures", "-rows mget24,get-unix", "| get-unix |", "## memcslap", "| binary |"} {
		if !strings.Contains(string(md), want) {
			t.Errorf("the report for people lacks %q:\n%s", want, md)
		}
	}
	if strings.Contains(string(md), server) {
		t.Errorf("the report tells where a binary was built:\n%s", md)
	}
	charts, err := filepath.Glob(file("svg/*.svg"))
	if err != nil || len(charts) < 6 {
		t.Errorf("expected a chart for each rival and figure, found %v, %v", charts, err)
	}
	for _, name := range charts {
		wellFormed(t, name)
	}
}

func wellFormed(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

func TestFlagsRefused(t *testing.T) {
	for _, args := range [][]string{{"-rows", "nothing"}, {"-threads", "2"}, {"word"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%q: expected an error", args)
		}
	}
}

// TestPresetsExist: every row has a load.
func TestPresetsExist(t *testing.T) {
	for _, r := range table {
		if r.about() == "" || r.config(&settings{}).Conns == 0 {
			t.Errorf("row %s has no preset %s", r.name, r.preset)
		}
	}
	if _, err := selectRows(&settings{rows: shortRows}); err != nil {
		t.Error(err)
	}
}
