package crashing_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sememcached/bench/crashing"
)

// victim is a server that something happens to.
type victim struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error
	log  *strings.Builder
	conn net.Conn
	rd   *bufio.Reader
}

// startVictim starts a server, by way of the command wrap; up is false if it ended before it listened.
func startVictim(t *testing.T, wrap []string, server, data string, more ...string) (v *victim, up bool) {
	t.Helper()
	// A socket of its own: a port that was free a moment ago may be another test's.
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	args := append(append([]string(nil), wrap...), server, "-u", "root", "-s", socket, "-t", "1", "-m", "16", "-I", "1m",
		"--audit-log", os.DevNull, "--data", data)
	args = append(args, more...)
	v = &victim{t: t, cmd: exec.Command(args[0], args[1:]...), done: make(chan error, 1), log: &strings.Builder{}}
	v.cmd.Stderr, v.cmd.Stdout = v.log, v.log
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { v.done <- v.cmd.Wait() }()
	t.Cleanup(v.kill)
	for until := time.Now().Add(60 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-v.done:
			v.done <- err
			return v, false
		default:
		}
		if v.conn, err = net.Dial("unix", socket); err == nil {
			_ = v.conn.SetDeadline(time.Now().Add(60 * time.Second))
			v.rd = bufio.NewReader(v.conn)
			return v, true
		}
	}
	t.Fatal("the server did not listen within a minute")
	return nil, false
}

// kill ends the server and what started it.
func (v *victim) kill() {
	if v.cmd == nil {
		return
	}
	_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
	<-v.done
	v.cmd = nil
	if v.conn != nil {
		v.conn.Close()
	}
}

// ask sends a command and returns what comes before the answer to a no-op.
func (v *victim) ask(format string, args ...any) string {
	v.t.Helper()
	if _, err := fmt.Fprintf(v.conn, format+"\r\nmn\r\n", args...); err != nil {
		v.t.Fatal(err, v.log)
	}
	var b strings.Builder
	for {
		line, err := v.rd.ReadString('\n')
		if err != nil {
			v.t.Fatalf("%v\n%s", err, v.log)
		}
		if line == "MN\r\n" {
			return strings.TrimSpace(b.String())
		}
		b.WriteString(line)
	}
}

func (v *victim) get(key string) string {
	text := v.ask("get %s", key)
	if text == "END" {
		return ""
	}
	return strings.TrimSpace(strings.TrimSuffix(strings.SplitN(text, "\n", 2)[1], "END"))
}

const failed = "SERVER_ERROR internal error"

// counted are the values of the key f.
var counted = func() (vs []string) {
	for i := range 30 {
		vs = append(vs, fmt.Sprint("f", i))
	}
	return vs
}()

// script stores, overwrites, counts and deletes, and returns what must be there,
// and whether a change was refused. After that every other change must be refused, and
// everything be as it was.
func (v *victim) script() (want map[string]string, hit bool) {
	v.t.Helper()
	want = map[string]string{}
	large := strings.Repeat("L", 300<<10)
	type change struct{ command, key, value, answer string }
	var cs []change
	// strace counts the calls of each thread, and the changes below alone may come to
	// fewer than the start.
	for _, value := range counted {
		cs = append(cs, change{fmt.Sprintf("set f 0 0 %d\r\n%s", len(value), value), "f", value, "STORED"})
	}
	for i, c := range append(cs, []change{
		{"set a 0 0 2\r\na1", "a", "a1", "STORED"},
		{"set a 0 0 2\r\na2", "a", "a2", "STORED"},
		{"set n 0 0 2\r\n10", "n", "10", "STORED"},
		{"incr n 5", "n", "15", "15"},
		{"set big 0 0 307200\r\n" + large, "big", large, "STORED"},
		{"set big 0 0 1\r\nb", "big", "b", "STORED"},
		{"append a 0 0 1\r\n+", "a", "a2+", "STORED"},
		{"delete n", "n", "", "DELETED"},
		{"set a 0 0 2\r\na3", "a", "a3", "STORED"},
		{"touch a 0", "a", "a3", "TOUCHED"},
	}...) {
		answer := v.ask("%s", c.command)
		switch {
		case answer == failed:
			hit = true
		case hit:
			v.t.Errorf("command %d: the disk has failed: expected %q, found %q", i, failed, answer)
		case answer != c.answer:
			v.t.Errorf("command %d: expected %q, found %q", i, c.answer, answer)
		default:
			want[c.key] = c.value
		}
		if got := v.get(c.key); got != want[c.key] {
			v.t.Errorf("command %d, answered %q: expected %.20q, found %.20q", i, answer, want[c.key], got)
		}
	}
	return want, hit
}

// TestFaults makes the Nth write, sync or truncation of the data file fail, for
// every N of a script.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	strace := crashing.NeedTool(t, "strace")
	server := crashing.BuildServer(t)
	for _, what := range []struct{ calls, errno string }{{"pwrite64", "EIO"}, {"fdatasync", "EIO"}, {"ftruncate,fsync", "EIO"}, {"pwrite64", "ENOSPC"}} {
		t.Run(what.calls+"/"+what.errno, func(t *testing.T) {
			t.Parallel()
			hits, refusals := 0, 0
			for n := 1; ; n++ {
				if n > 200 {
					t.Fatal("200 runs, and the script still fails")
				}
				data := filepath.Join(t.TempDir(), "data")
				wrap := []string{strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + what.calls, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d+", what.calls, what.errno, n)}
				v, up := startVictim(t, wrap, server, data, "--sync", "always")
				if !up {
					refusals++
					if text := v.log.String(); !strings.Contains(text, data) && !strings.Contains(text, "data") || strings.Contains(text, "goroutine ") {
						t.Errorf("%d: expected a refusal that names the file, found %q", n, text)
					}
					v.kill()
					continue
				}
				want, hit := v.script()
				if hit {
					hits++
					if st := v.ask("stats data"); !strings.Contains(st, "STAT state failed") || !strings.Contains(v.log.String(), "closed for good") {
						t.Errorf("%d: expected stats and log to tell of the failure, found\n%s\n%s", n, st, v.log)
					}
				}
				v.kill()
				v, up = startVictim(t, nil, server, data, "--sync", "always")
				if !up {
					t.Fatalf("%d: the file does not open any more: %s", n, v.log)
				}
				checkAfter(t, v, n, want, hit)
				v.kill()
				if !hit {
					break
				}
			}
			t.Logf("%d runs failed while serving, %d at the start", hits, refusals)
			// The file grows by 16 MiB: truncations come at the start only.
			if hits == 0 && what.calls != "ftruncate,fsync" || hits+refusals == 0 {
				t.Error("no call was made to fail")
			}
		})
	}
}

// checkAfter: what was acknowledged is there; what was refused may be, whole.
func checkAfter(t *testing.T, v *victim, n int, want map[string]string, hit bool) {
	t.Helper()
	next := map[string][]string{ // what a key may be besides, if the last commit was refused and is on the disk
		"f": counted, "a": {"a1", "a2", "a2+", "a3"}, "n": {"10", "15", ""}, "big": {strings.Repeat("L", 300<<10), "b"},
	}
	differ := 0
	for key, others := range next {
		got := v.get(key)
		if got == want[key] {
			continue
		}
		differ++
		_, ever := want[key]
		at, found := -1, -1
		for i, o := range others {
			if ever && o == want[key] {
				at = i
			}
			if o == got {
				found = i
			}
		}
		if !hit || found != at+1 {
			t.Errorf("%d: key %s: expected %.20q, found %.20q", n, key, want[key], got)
		}
	}
	if differ > 1 {
		t.Errorf("%d: more than one refused change is there", n)
	}
}

// TestDiskFull: a small file system, and a limit on the size of files. Under
// interval everything goes on from memory.
func TestDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	server := crashing.BuildServer(t)
	fill := func(t *testing.T, wrap []string, data, sync string, items int) {
		v, up := startVictim(t, wrap, server, data, "--sync", sync, "--sync-interval", "10ms", "-m", "64")
		if !up {
			t.Fatal(v.log)
		}
		value := strings.Repeat("v", 50000)
		kept, refused := 0, 0
		for i := range items {
			switch answer := v.ask("set k%d 0 0 50000\r\n%s", i, value); answer {
			case "STORED":
				kept++
				if refused > 0 {
					t.Errorf("k%d: stored after a refusal", i)
				}
			case failed:
				refused++
			default:
				t.Fatalf("k%d: found %q", i, answer)
			}
		}
		for until := time.Now().Add(20 * time.Second); !strings.Contains(v.ask("stats data"), "STAT state failed"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("expected the disk to be full\n%s", v.ask("stats data"))
			}
		}
		if sync == "always" && (kept == 0 || refused == 0) || sync != "always" && refused > 0 {
			t.Errorf("%d stored, %d refused", kept, refused)
		}
		if got := v.get("k0"); got != value {
			t.Errorf("k0: found %d bytes", len(got))
		}
		v.kill()
		v, up = startVictim(t, nil, server, data, "--sync", "none", "-m", "64")
		if !up {
			t.Fatalf("the file does not open any more: %s", v.log)
		}
		if sync == "always" {
			for i := range kept {
				if got := v.get(fmt.Sprintf("k%d", i)); got != value {
					t.Errorf("k%d: it was acknowledged and has %d bytes", i, len(got))
				}
			}
		}
		v.kill()
	}
	small := func(t *testing.T) (dir string) {
		dir = t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", dir).CombinedOutput(); err != nil {
			if os.Getenv("CI") != "" && os.Geteuid() == 0 {
				t.Fatalf("mount: %v %s", err, out)
			}
			t.Skipf("this needs to mount: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
		return dir
	}
	// A file that has no tail is opened where there is no room for one, or for nothing at all.
	for _, left := range []int{0, 1 << 20} {
		t.Run(fmt.Sprint("tmpfs/left/", left), func(t *testing.T) {
			dir := small(t)
			data := filepath.Join(dir, "data")
			v, up := startVictim(t, nil, server, data, "--sync-interval", "10ms")
			if !up {
				t.Fatal(v.log)
			}
			if answer := v.ask("set before 0 0 1\r\nb"); answer != "STORED" {
				t.Fatal(answer)
			}
			for until := time.Now().Add(20 * time.Second); !strings.Contains(v.ask("stats data"), "STAT records 1\r\n"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("nothing is written")
				}
			}
			v.kill()
			filler := filepath.Join(dir, "filler")
			if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); err == nil {
				t.Fatal("expected the disk to be full")
			}
			if left > 0 {
				st, err := os.Stat(filler)
				if err == nil {
					err = os.Truncate(filler, st.Size()-int64(left))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if v, up = startVictim(t, nil, server, data, "--sync", "always"); !up {
				t.Fatalf("expected the server to serve what there is\n%s", v.log)
			}
			value := strings.Repeat("v", 50000)
			kept, refused := 0, 0
			for i := range 40 {
				switch answer := v.ask("set k%d 0 0 50000\r\n%s", i, value); {
				case answer == "STORED" && refused == 0:
					kept++
				case answer == failed:
					refused++
				default:
					t.Fatalf("k%d, after %d refusals: found %q", i, refused, answer)
				}
			}
			if (kept > 0) != (left > 0) || refused == 0 || v.get("before") != "b" {
				t.Errorf("%d stored, %d refused, before is %q", kept, refused, v.get("before"))
			}
			v.kill()
			if !strings.Contains(v.log.String(), "no room for the tail") {
				t.Errorf("expected a warning\n%s", v.log)
			}
			if v, up = startVictim(t, nil, server, data, "--sync", "none"); !up {
				t.Fatalf("the file does not open any more: %s", v.log)
			}
			for i := range kept {
				if got := v.get(fmt.Sprintf("k%d", i)); got != value {
					t.Errorf("k%d: it was acknowledged and has %d bytes", i, len(got))
				}
			}
			if got := v.get("before"); got != "b" {
				t.Errorf("before: found %q", got)
			}
		})
	}
	for _, sync := range []string{"always", "interval"} {
		t.Run("tmpfs/"+sync, func(t *testing.T) {
			fill(t, nil, filepath.Join(small(t), "data"), sync, 200)
		})
		t.Run("fsize/"+sync, func(t *testing.T) {
			fill(t, []string{crashing.NeedTool(t, "prlimit"), "--fsize=20000000"}, filepath.Join(t.TempDir(), "data"), sync, 500) // it grows by 16 MiB
		})
	}
}
