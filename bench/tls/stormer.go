package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The storm is a process of its own: it shares no thread, no garbage collector and no
// scheduler of Go with the plain clients, only their core. It takes orders, a line
// each, and answers each with a line:
//
//	storm         make handshakes with the server
//	control RATE  make them with a decoy, at most RATE per second
//	count         how many have been made since the last storm or control
//	end           stop
const stormWord = "storm"

// stormNice is the priority of the storm: elsewhere it would be other machines.
const stormNice = 19

// stormCore is where the storm runs, beside the plain clients.
const stormCore = 1

// stormer is the storm, seen from the benchmark.
type stormer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startStormer starts the process, for a server at addr.
func startStormer(addr string, conns int) (*stormer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &stormer{cmd: exec.Command(self, stormWord, addr, strconv.Itoa(conns))}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewScanner(out)
	return s, s.cmd.Start()
}

// order gives an order and returns the answer.
func (s *stormer) order(format string, args ...any) (int, error) {
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		return 0, fmt.Errorf("the storm: %w", err)
	}
	if !s.out.Scan() {
		return 0, fmt.Errorf("the storm has ended: %w", errors.Join(s.out.Err(), s.close()))
	}
	return strconv.Atoi(s.out.Text())
}

// close ends the process.
func (s *stormer) close() error {
	s.in.Close()
	return s.cmd.Wait()
}

// storming is the storm itself.
type storming struct {
	hello []byte
	conns int
	sa    unix.Sockaddr // the server
	decoy *decoy

	done  atomic.Int64
	over  atomic.Bool
	group sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// serveStorm is the process: the server's address and the number of connections.
func serveStorm(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("expected an address and a number of connections")
	}
	if err := background(); err != nil {
		return err
	}
	st := &storming{}
	var err error
	if st.conns, err = strconv.Atoi(args[1]); err != nil {
		return err
	}
	if st.sa, err = ipv4(args[0]); err != nil {
		return err
	}
	if st.hello, err = clientHello(); err != nil {
		return err
	}
	flight, err := answerTo(args[0], st.hello)
	if err != nil {
		return err
	}
	if st.decoy, err = startDecoy(flight); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, rate, _ := strings.Cut(lines.Text(), " ")
		answer := 0
		switch word {
		case "storm":
			st.start(st.sa)
		case "control":
			perSecond, err := strconv.Atoi(rate)
			if err != nil {
				return err
			}
			st.decoy.interval.Store(int64(time.Second) / int64(max(perSecond, 1)))
			st.start(st.decoy.sa)
		case "count":
			answer = int(st.done.Load())
		case "end":
			if err := st.stop(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("expected storm, control, count or end, found %q", word)
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return nil
}

// background puts all threads of the process, and those to come, which inherit it, on
// the storm's core with the storm's priority: those of Go's runtime too would be in
// the server's way otherwise.
func background() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(stormCore)
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("core %d: %w", stormCore, err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, stormNice); err != nil {
			return fmt.Errorf("nice: %w", err)
		}
	}
	return nil
}

// start begins a storm on the server at sa.
func (st *storming) start(sa unix.Sockaddr) {
	st.done.Store(0)
	st.over.Store(false)
	// Few threads, each with connections whose handshakes overlap.
	const threads = 2
	for range threads {
		st.group.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := st.run(sa, st.conns/threads); err != nil {
				st.mu.Lock()
				defer st.mu.Unlock()
				st.err = err
			}
		})
	}
}

func (st *storming) stop() error {
	st.over.Store(true)
	st.group.Wait()
	return st.err
}

// run begins handshakes on n connections at a time and ends each when the server
// has done its share of it.
func (st *storming) run(sa unix.Sockaddr, n int) error {
	fds := make([]int, n)
	buf := make([]byte, 8<<10)
	for !st.over.Load() {
		for i := range fds {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Connect(fd, sa); err != nil {
				unix.Close(fd)
				return err
			}
			if _, err := unix.Write(fd, st.hello); err != nil {
				unix.Close(fd)
				return err
			}
			fds[i] = fd
		}
		for _, fd := range fds {
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // no TIME_WAIT
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
			k, err := unix.Read(fd, buf)
			unix.Close(fd)
			if err == nil && k > 0 {
				st.done.Add(1)
			}
		}
	}
	return nil
}

// decoy is a server that answers every first flight with one that another server has
// sent: to a client that goes away then, it is one that makes handshakes. It runs
// where the storm runs and costs next to nothing, so that clients suffer from a storm
// on it as from one on the real server, less what that one itself makes them suffer.
type decoy struct {
	fd       int
	sa       unix.Sockaddr
	flight   []byte
	interval atomic.Int64 // nanoseconds between answers
}

// decoyKeeps is how many answered connections stay open, until their clients have
// certainly gone.
const decoyKeeps = 128

func startDecoy(flight []byte) (*decoy, error) {
	d := &decoy{flight: flight}
	var err error
	if d.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if err = unix.Bind(d.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(d.fd, unix.SOMAXCONN)
	}
	if err == nil {
		d.sa, err = unix.Getsockname(d.fd)
	}
	if err != nil {
		return nil, err
	}
	go d.serve()
	return d, nil
}

// serve answers until the process ends.
func (d *decoy) serve() {
	runtime.LockOSThread()
	var open [decoyKeeps]int
	buf := make([]byte, 8<<10)
	due := time.Now()
	for i := 0; ; i++ {
		fd, _, err := unix.Accept4(d.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			continue
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
		if n, err := unix.Read(fd, buf); err == nil && n > 0 {
			const late = 10 * time.Millisecond // is made up for
			due = due.Add(time.Duration(d.interval.Load()))
			now := time.Now()
			if ts := unix.NsecToTimespec(int64(due.Sub(now))); due.After(now) {
				_ = unix.Nanosleep(&ts, nil)
			} else if due.Before(now.Add(-late)) {
				due = now.Add(-late)
			}
			_, _ = unix.Write(fd, d.flight)
		}
		if old := open[i%decoyKeeps]; old != 0 {
			unix.Close(old)
		}
		open[i%decoyKeeps] = fd
	}
}

func ipv4(addr string) (unix.Sockaddr, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}, nil
}

// clientHello is the first flight of a client: anybody can send it again and again.
func clientHello() ([]byte, error) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := tls.Client(ours, &tls.Config{
		InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13,
	})
	go func() { _ = c.Handshake() }() // ends when the pipe is closed
	buf := make([]byte, 8<<10)
	n, err := theirs.Read(buf)
	if err != nil {
		return nil, err
	}
	if n < 6 || buf[0] != 0x16 {
		return nil, errors.New("the first flight of crypto/tls is no handshake")
	}
	return buf[:n], nil
}

// answerTo is what the server at addr sends after a client's first flight.
func answerTo(addr string, hello []byte) ([]byte, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := c.Write(hello); err != nil {
		return nil, err
	}
	buf := make([]byte, 16<<10)
	n, err := c.Read(buf)
	if err == nil && buf[0] != 0x16 {
		err = fmt.Errorf("expected a handshake, found a record of type %d", buf[0])
	}
	return buf[:n], err
}
