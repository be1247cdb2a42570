package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU          time.Duration // of all its threads
	User, System time.Duration // with the precision of a clock tick, 10 ms
}

// clockTick is USER_HZ, which is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// UsageOf reads what the live threads of a process have used.
func UsageOf(pid int) (Usage, error) {
	var u Usage
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return u, fmt.Errorf("rig: process %d has no /proc/%d/task/*/schedstat", pid, pid)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		ns, _, _ := bytes.Cut(b, []byte(" "))
		n, err := strconv.ParseInt(string(ns), 10, 64)
		if err != nil {
			return u, fmt.Errorf("rig: %s: expected nanoseconds, found %q", f, ns)
		}
		u.CPU += time.Duration(n)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("rig: %w", err)
	}
	// The fields after the name, which may hold blanks, in parentheses: proc(5)
	// numbers them from 3; 14 is utime and 15 stime.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return u, fmt.Errorf("rig: /proc/%d/stat: expected at least 15 fields, found %d", pid, len(fields)+2)
	}
	for i, d := range []*time.Duration{&u.User, &u.System} {
		n, err := strconv.ParseInt(string(fields[11+i]), 10, 64)
		if err != nil {
			return u, fmt.Errorf("rig: /proc/%d/stat: %w", pid, err)
		}
		*d = time.Duration(n) * clockTick
	}
	return u, nil
}

// Since is what has been used between o and u.
func (u Usage) Since(o Usage) Usage {
	return Usage{CPU: u.CPU - o.CPU, User: u.User - o.User, System: u.System - o.System}
}

// UserShare is the part of the time that was spent in user space.
func (u Usage) UserShare() float64 {
	if u.User+u.System == 0 {
		return 0
	}
	return float64(u.User) / float64(u.User+u.System)
}

// RSS is the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("rig: %w", err)
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, fmt.Errorf("rig: /proc/%d/statm: expected 7 numbers, found %q", pid, b)
	}
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("rig: /proc/%d/statm: %w", pid, err)
	}
	return n * int64(os.Getpagesize()), nil
}

func readProc(pid int, name string) ([]byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	return b, nil
}
