//go:build vm && linux

package vmtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a real kernel's decisions cost, in the machine "cost": the server's
// processor time for a request, with access control by the kernel and by a policy
// file, divided by what it takes with --mac=off. Under an emulator the times
// themselves mean nothing; the ratios are of one run on one processor.

// costTime is how long each load runs; vmcost=SECONDS on the kernel's command line.
func costTime() time.Duration {
	if s, err := strconv.ParseFloat(argument("vmcost", ""), 64); err == nil {
		return time.Duration(s * float64(time.Second))
	}
	return time.Second
}

var costModes = []struct {
	name string
	how  launch
	args []string
}{
	{"off", launch{context: serverContext, user: "root", mac: "off"}, nil},
	{"kernel", launch{context: serverContext, user: "root", mac: "kernel"}, nil},
	{"policy", launch{context: serverContext, user: "root", mac: "policy"}, []string{"--policy", "/policy/main.bin"}},
}

var costLoads = []string{"get", "get90", "mget24", "pipe16"}

// TestCostOfDecisions: where every decision is remembered, the kernel costs what
// a policy file costs, and neither much. The bound is far from the noise of an
// emulated processor; the figures are printed.
func TestCostOfDecisions(t *testing.T) {
	inGuest(t)
	const rounds = 3
	cost := map[string][]float64{} // by load and mode
	for range rounds {
		for _, m := range costModes {
			s := startServerAs(t, m.how, append([]string{"-t", "1", "-m", "200"}, m.args...)...)
			loadOf(t, "get", 50*time.Millisecond, "-fill")
			for _, load := range costLoads {
				// Connecting costs something too, and more where the kernel is asked who it is.
				start := ticks(t, s)
				few := loadOf(t, load, 20*time.Millisecond)
				before := ticks(t, s)
				n := loadOf(t, load, costTime())
				took := (ticks(t, s) - before) - (before - start)
				cost[load+" "+m.name] = append(cost[load+" "+m.name], float64(took)*1e4/float64(n-few))
			}
			s.stop()
		}
	}
	median := func(load, mode string) float64 {
		v := slices.Clone(cost[load+" "+mode])
		slices.Sort(v)
		return v[len(v)/2]
	}
	for _, load := range costLoads {
		off := median(load, "off")
		for _, mode := range []string{"kernel", "policy"} {
			ratio := median(load, mode) / off
			fmt.Printf("@@COST | %s | %s | %.1f | %.1f | %.2f |\n", load, mode, off, median(load, mode), 1/ratio)
			if ratio > 2 {
				t.Errorf("%s: with access control by the %s a request costs %.2f times what it costs without", load, mode, ratio)
			}
		}
	}
}

// TestCostOfQuestion: what one question to the kernel costs the server, over a
// thousand labels that its cache has not met.
func TestCostOfQuestion(t *testing.T) {
	inGuest(t)
	const labels = 1000
	s := startServer(t, "-t", "1")
	writer := dial(t, domain("kv_admin_t", "s0-s0:c0.c1023"))
	var get strings.Builder
	for i := range labels {
		writer.want(fmt.Sprintf("mac create %s\r\nset k%d 0 0 1\r\nx\r\n", object("kv_item_t", "s0:c"+strconv.Itoa(i)), i), "OK\r\nSTORED\r\n")
		fmt.Fprintf(&get, "get k%d\r\n", i)
	}
	reader := dial(t, domain("kv_client_t", "s0-s0:c0.c1023"))
	pass := func(n int) float64 {
		before := ticks(t, s)
		for range n {
			if got := strings.Count(reader.ask(get.String()), "VALUE "); got != labels {
				t.Fatalf("%d hits of %d", got, labels)
			}
		}
		return float64(ticks(t, s)-before) * 1e4 / float64(n*labels)
	}
	cold, warm := pass(1), pass(20)
	fmt.Printf("@@QUESTION | kernel | %.0f | %.1f |\n", cold, warm)
	if cold <= warm {
		t.Errorf("a question costs nothing (%.1f us with it, %.1f without): was it asked?", cold, warm)
	}
}

var loadReport = regexp.MustCompile(`(?s)requests +(\d+) in.*gets +(\d+): (\d+) hits, (\d+) misses.*errors +(\d+), wrong (\d+)`)

// loadOf runs the load generator in a client's domain and returns the number of
// requests, of which every get must have been a hit.
func loadOf(t *testing.T, preset string, d time.Duration, more ...string) int {
	t.Helper()
	args := append([]string{"-network", "unix", "-addr", socketPath, "-preset", preset, "-keys", "10000", "-conns", "10", "-time", d.String()}, more...)
	cmd := exec.Command("/loadgen", args...)
	out := newLines()
	cmd.Stdout, cmd.Stderr = out, out
	must(t, startAs(cmd, domain("kv_client_t", "s0")))
	stop := time.AfterFunc(patience+d, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	stop.Stop()
	m := loadReport.FindStringSubmatch(out.String())
	if err != nil || m == nil || m[4] != "0" || m[5] != "0" || m[6] != "0" {
		t.Fatalf("the load %s: %v: %s", preset, err, out)
	}
	n, err := strconv.Atoi(m[1])
	must(t, err)
	return n
}

// ticks is the processor time of the server so far, in hundredths of a second.
func ticks(t *testing.T, s *server) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err := strconv.Atoi(f[11])
	must(t, err)
	system, err := strconv.Atoi(f[12])
	must(t, err)
	return user + system
}

// reportCost writes the figures that the machine "cost" has printed, if somebody
// wants them: VMTEST_COST=FILE.
func reportCost(t *testing.T, out string) {
	t.Helper()
	file := os.Getenv("VMTEST_COST")
	if file == "" {
		return
	}
	f, err := os.Create(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := func(mark, head string) {
		_, _ = io.WriteString(f, head)
		for line := range strings.Lines(out) {
			if row, ok := strings.CutPrefix(line, mark+" "); ok {
				_, _ = io.WriteString(f, row)
			}
		}
	}
	section("@@COST", `# What a real kernel's decisions cost

- command: `+"`make bench-kernel`"+`: Debian's kernel with SELinux in QEMU, emulated (TCG), one processor; the server with one thread, 10 connections over
  a UNIX socket, 10,000 keys, clients and items of one label each; medians of three rounds in turn
- the machine's clock counts instructions, 4 ns each (-icount shift=2), so that the figures do not depend on what else runs;
  CPU is the server's, in such microseconds per request: the ratio is that of the instructions, caches take no part

| load | access control by | CPU with --mac=off | CPU with it | ratio, 1 is free |
|---|---|---|---|---|
`)
	section("@@QUESTION", `
A thousand items with a label each, read by a client that the cache has not met, and then again: what one question costs
the server, in the same microseconds per get.

| access control by | asked | remembered |
|---|---|---|
`)
}
