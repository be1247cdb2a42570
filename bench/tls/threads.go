package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// threadTimes is what the scheduler knows of a thread (/proc/PID/task/TID/schedstat).
type threadTimes struct {
	ran    time.Duration // on a processor
	waited time.Duration // for one, while it could have run
	turns  int64         // how often it got one
}

// since is what has come between o and t.
func (t threadTimes) since(o threadTimes) threadTimes {
	return threadTimes{t.ran - o.ran, t.waited - o.waited, t.turns - o.turns}
}

// wait is how long the thread waited for a processor each time, in microseconds.
func (t threadTimes) wait() float64 { return micros(t.waited) / float64(max(t.turns, 1)) }

// threadFile is the schedstat of the thread of process pid with that name.
func threadFile(pid int, name string) (string, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", pid))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == name {
			return filepath.Join(filepath.Dir(f), "schedstat"), nil
		}
	}
	return "", fmt.Errorf("process %d: expected a thread %q, found none", pid, name)
}

func readThread(file string) (t threadTimes, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		_, err = fmt.Sscan(string(b), &t.ran, &t.waited, &t.turns)
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}
