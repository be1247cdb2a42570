package rig

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/bench/load"
)

// Kind is a server program. The zero Kind is not usable.
type Kind struct {
	Name string
	// Argv is the program and its first arguments; memcached's -u, -t, -m, -c and
	// -l -p or -s follow. For the ceiling, which takes none of these, it is the
	// program alone.
	Argv    []string
	Ceiling bool
	Env     []string // added to the environment
}

// Place says where and how a server runs.
type Place struct {
	Unix      bool
	Dir       string // for UNIX sockets
	Threads   int
	CPUs      []int // cores of the server; none: not pinned
	MemoryMB  int
	MaxConns  int // 0: 4096
	ValueSize int // for the ceiling
}

// MemoryFor is the memory limit with room for every item without evictions: the
// value, 200 bytes for whatever a server needs beside it, and a quarter more for
// its size classes.
func MemoryFor(keys, valueSize int) int { return 64 + keys*(valueSize+200)/1_000_000*5/4 }

// Server is a running server.
type Server struct {
	Kind    Kind
	Network string
	Addr    string
	PID     int
	Command string // as started

	cmd  *exec.Cmd
	err  bytes.Buffer
	done chan error
}

// startTime is how long a server may take until it listens.
const startTime = time.Minute

// Start starts a server and waits until it accepts connections.
func Start(k Kind, p Place) (*Server, error) {
	s := &Server{Kind: k, Network: "tcp", done: make(chan error, 1)}
	port := ""
	if p.Unix {
		s.Network = "unix"
		s.Addr = filepath.Join(p.Dir, k.Name+".sock")
		port = s.Addr
	} else {
		n, err := freePort()
		if err != nil {
			return nil, err
		}
		port = strconv.Itoa(n)
		s.Addr = "127.0.0.1:" + port
	}
	args := append([]string{}, k.Argv[1:]...)
	if k.Ceiling {
		args = append(args, port, strconv.Itoa(p.ValueSize), strconv.Itoa(keyLength))
	} else {
		args = append(args, memcachedFlags(p, s.Addr, port)...)
	}
	s.cmd = exec.Command(k.Argv[0], args...)
	s.cmd.Stderr = &s.err
	s.cmd.Env = append(os.Environ(), k.Env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.Command = strings.Join(s.cmd.Args, " ")
	started := make(chan error)
	go s.launch(p.CPUs, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("rig: %s: %w", k.Name, err)
	}
	s.PID = s.cmd.Process.Pid
	return s, s.await()
}

// keyLength is that of the keys of package load.
const keyLength = load.KeyLength

func memcachedFlags(p Place, path, port string) []string {
	args := []string{
		"-t", strconv.Itoa(max(1, p.Threads)), "-m", strconv.Itoa(p.MemoryMB), "-c", strconv.Itoa(cmp.Or(p.MaxConns, 4096)), "-U", "0",
	}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root")
	}
	if p.Unix {
		return append(args, "-s", path)
	}
	return append(args, "-l", "127.0.0.1", "-p", port)
}

// launch runs the server from a thread with the affinity that it is to inherit.
// The thread stays until the server has ended, since the parent-death signal
// would follow its end; it is given up then, not reused.
func (s *Server) launch(cpus []int, started chan<- error) {
	runtime.LockOSThread()
	if len(cpus) > 0 {
		var set unix.CPUSet
		for _, c := range cpus {
			set.Set(c)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			started <- fmt.Errorf("cannot run on cores %v: %w", cpus, err)
			return
		}
	}
	err := s.cmd.Start()
	started <- err
	if err == nil {
		s.done <- s.cmd.Wait()
	}
}

func (s *Server) await() error {
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial(s.Network, s.Addr)
		if err == nil {
			return c.Close()
		}
		select {
		case err := <-s.done:
			return fmt.Errorf("rig: %s ended at once (%v): %s", s.Command, err, s.err.String())
		default:
		}
		if time.Now().After(end) {
			s.Stop()
			return fmt.Errorf("rig: %s does not listen after %v: %w", s.Command, startTime, err)
		}
	}
}

// Stop ends the server. The error is what it died of, if it was dead already.
func (s *Server) Stop() error {
	select {
	case err := <-s.done:
		return fmt.Errorf("rig: %s had ended: %v: %s", s.Command, err, s.err.String())
	default:
	}
	err := s.cmd.Process.Kill()
	<-s.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// GCShare is the part of the processor time that the garbage collector took, in percent and rounded,
// of a Go server that was started with GODEBUG=gctrace=1 in Env and has been stopped. It is 0
// where there was no collection.
func (s *Server) GCShare() (percent float64) {
	for line := range strings.Lines(s.err.String()) {
		f := strings.Fields(line) // gc 7 @12.345s 1%: ...
		if len(f) > 3 && f[0] == "gc" && strings.HasSuffix(f[3], "%:") {
			percent, _ = strconv.ParseFloat(strings.TrimSuffix(f[3], "%:"), 64)
		}
	}
	return percent
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("rig: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
