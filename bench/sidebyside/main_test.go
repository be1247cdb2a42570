package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/bench/rig"
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

// TestRuns: a row holds where all runs do.
func TestRuns(t *testing.T) {
	run := func(cpu, rate, p99 float64) *report {
		return &report{Rows: []rowReport{{Name: "get", Target: 1.2, Servers: make([]serverReport, 2), Against: []ratioReport{{
			Name: "memcached", CPU: rig.Spread{Median: cpu}, Rate: rig.Spread{Median: rate}, P99: rig.Spread{Median: p99},
		}}}}}
	}
	var files []string
	for i, r := range []*report{run(1.3, 1.1, 0.9), run(1.25, 1.3, 1.1)} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	last := run(1.2, 1.25, 0.8)
	var err error
	if last.Earlier, err = earlier(strings.Join(files, ", ")); err != nil {
		t.Fatal(err)
	}
	want := "| get | 1.2 | 1.30, 1.25, 1.20 | yes | 1.10, 1.30, 1.25 | 2 of 3 | 0.90, 1.10, 0.80 | 2 of 3 |"
	if md := string(last.markdown()); !strings.Contains(md, want) || !strings.Contains(md, "## 3 runs") {
		t.Errorf("expected %s in\n%s", want, md)
	}
	if _, err := earlier(files[0] + ",nothing.json"); err == nil {
		t.Error("a file that does not exist: expected an error")
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
