package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// thread is what the scheduler knows of one.
type thread struct {
	name   string
	policy uint32
	nice   int
	slice  time.Duration // 0: this kernel does not tell
}

// threadsOf are those of a process, whichever there are at the moment.
func threadsOf(t *testing.T, pid int) (all []thread) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", task.Name(), "comm"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		attr, err := unix.SchedGetAttr(tid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, thread{strings.TrimSpace(string(name)), attr.Policy, int(attr.Nice), time.Duration(attr.Runtime)})
	}
	return all
}

// TestThreadPriorities: with TLS everything goes behind the loops, whatever the priority of
// the process is; without it all threads are alike.
func TestThreadPriorities(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	ca, dir, chain, key := writeServer(t)
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte("alice:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := []string{"-Z", "-o", "ssl_chain_cert=" + chain + ",ssl_key=" + key}
	var unamed unix.Utsname
	if err := unix.Uname(&unamed); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(unamed.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	slices := major > 6 || major == 6 && minor >= 12
	for _, c := range []struct {
		name               string
		args               []string
		batch              bool // SCHED_BATCH
		nice               int
		tls                bool
		loops, rest, hands int // nicer than the test
	}{
		{name: "plain", loops: 0, rest: 0},
		{name: "TLS", args: secure, tls: true, loops: 0, rest: 5, hands: 15},
		{name: "TLS, nice 3", args: secure, nice: 3, tls: true, loops: 3, rest: 8, hands: 18},
		{name: "TLS, nice 17", args: secure, nice: 17, tls: true, loops: 17, rest: 19, hands: 19},
		{name: "TLS, batch", args: secure, batch: true, tls: true, loops: 0, rest: 5, hands: 15},
		{name: "TLS and passwords", args: append([]string{"-Y", users}, secure...), tls: true, loops: 0, rest: 5, hands: 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
			if err != nil {
				t.Fatal(err)
			}
			own := 20 - now // the system call's answer is 20 - nice
			policy, chrt := uint32(unix.SCHED_NORMAL), "--other"
			if c.batch {
				policy, chrt = unix.SCHED_BATCH, "--batch"
			}
			p := launch(t, exec.Command("nice", append([]string{"-n", strconv.Itoa(c.nice), "chrt", chrt, "0", bin, "-u", whoami(t), "-t", "3", "--mac", "off"}, c.args...)...))
			right := func() (wrong string) {
				loops, hands := 0, 0
				for _, th := range threadsOf(t, p.cmd.Process.Pid) {
					want, slice := c.rest, 3*time.Millisecond
					switch th.name {
					case "mc-worker":
						loops++
						want, slice = c.loops, 100*time.Microsecond
					case "mc-tls":
						hands++
						want = c.hands
					}
					if want = min(own+want, 19); th.nice != want || th.policy != policy || c.tls && slices && th.slice != slice {
						wrong += fmt.Sprintf("\n%+v, expected policy %d, nice %d", th, policy, want)
					}
				}
				if loops != 3 || c.tls != (hands > 0) {
					wrong += fmt.Sprintf("\n%d loops and %d threads for handshakes", loops, hands)
				}
				return wrong
			}
			for end := time.Now().Add(15 * time.Second); right() != ""; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal(right())
				}
			}
			if !c.tls {
				return
			}
			for range 20 { // with all that a storm needs
				conn, err := tls.Dial("tcp", p.addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if wrong := right(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}
