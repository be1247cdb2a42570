package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoStrace says that system calls cannot be counted here.
var ErrNoStrace = errors.New("rig: no strace, so system calls are not counted")

// Syscalls are the numbers of system calls by name.
type Syscalls map[string]int

// Total is their sum.
func (c Syscalls) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// CountSyscalls counts the system calls of a process and all its threads while
// load runs, by strace -c.
func CountSyscalls(pid int, load func() error) (Syscalls, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return nil, ErrNoStrace
	}
	out, err := os.CreateTemp("", "strace")
	if err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command(path, "-c", "-f", "-o", out.Name(), "-p", strconv.Itoa(pid))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("rig: strace: %w", err)
	}
	err = awaitTracer(pid, cmd.Process.Pid)
	if err == nil {
		err = load()
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait() // strace ends by the signal it has been sent
	if err != nil {
		return nil, fmt.Errorf("%w %s", err, said.String())
	}
	return parseStrace(out.Name())
}

// awaitTracer waits until every thread of pid is traced.
func awaitTracer(pid, tracer int) error {
	want := []byte(fmt.Sprintf("TracerPid:\t%d\n", tracer))
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("rig: %w", err)
		}
		all := true
		for _, t := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, t.Name()))
			all = all && err == nil && bytes.Contains(b, want)
		}
		if all {
			return nil
		}
	}
	return fmt.Errorf("rig: strace does not trace process %d after 5 s", pid)
}

// parseStrace reads the table of strace -c: per cent, seconds, microseconds a
// call, calls, errors if there were any, name.
func parseStrace(file string) (Syscalls, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	defer f.Close()
	calls := Syscalls{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) < 5 || w[len(w)-1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(w[3]); err == nil {
			calls[w[len(w)-1]] += n
		}
	}
	if len(calls) == 0 {
		return nil, errors.New("rig: strace has counted nothing")
	}
	return calls, nil
}
