package crashing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PowerConfig is one run of Power.
type PowerConfig struct {
	Server   string // the binary
	Dir      string // for the files of the run
	Mode     string // always or interval of --sync, or warm: -e instead of --data
	Commands int    // in all
	Images   int    // about how many states of the disk are looked at
	Serve    int    // one of so many is served by a server, too
	Seed     uint64
	Log      io.Writer
}

const (
	powerConns = 6
	powerEach  = 10 // keys of a connection
	powerFile  = "items"
)

// power is a run under way: a server is traced first, and then the power fails.
type power struct {
	PowerConfig
	rng   *rand.Rand
	keys  []*powerKey
	conns int // numbers given out
	trace *tracer
}

// files is the directory that the server keeps its file in.
func (p *power) files() string { return filepath.Join(p.Dir, "files") }

func newPower(cfg PowerConfig) (*power, error) {
	p := &power{PowerConfig: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 3)), keys: newPowerKeys(powerConns, powerEach)}
	p.trace = newTracer(p.files())
	return p, errors.Join(os.Mkdir(p.files(), 0o700), os.WriteFile(filepath.Join(p.Dir, "contexts"), []byte(powerContexts), 0o600))
}

// args is the command line of a server on a file.
func (p *power) args(socket, file string) []string {
	a := []string{
		p.Server, "-u", "root", "-s", socket, "-t", "1", "-m", "64",
		"--contexts", filepath.Join(p.Dir, "contexts"), "--mac", "policy", "--audit-log", os.DevNull,
	}
	if p.Mode == "warm" {
		return append(a, "-e", file)
	}
	return append(a, "--data", file, "--sync", p.Mode, "--sync-interval", "3ms")
}

// server is a process, under strace or not.
type server struct {
	cmd    *exec.Cmd
	exited chan error
	socket string
	pid    int
}

// start starts a server, under strace if trace is not empty.
func (p *power) start(trace, file string) (s *server, err error) {
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		return nil, err
	}
	s = &server{socket: filepath.Join(dir, "s"), exited: make(chan error, 1)}
	args := p.args(s.socket, file)
	if trace != "" {
		args = append([]string{
			"strace", "--seccomp-bpf", "-f", "-qq", "-xx", "-s", "67108864", "-o", trace,
			"-e", "signal=none", "-e", "trace=" + traced,
		}, args...)
	}
	log, err := os.OpenFile(filepath.Join(p.Dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr, s.cmd.Stdout = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- s.cmd.Wait() }()
	for until := time.Now().Add(60 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		select {
		case err := <-s.exited:
			s.exited <- err
			return nil, errors.Join(fmt.Errorf("the server ended: %v; see %s", err, log.Name()), os.RemoveAll(dir))
		default:
		}
		c, rd, err := s.dial()
		if err != nil {
			continue
		}
		s.pid, err = askPid(c, rd)
		return s, errors.Join(err, c.Close())
	}
	s.kill()
	return nil, errors.New("the server did not listen within a minute")
}

func askPid(c net.Conn, rd *bufio.Reader) (pid int, err error) {
	if _, err := io.WriteString(c, "stats\r\n"); err != nil {
		return 0, err
	}
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return 0, err
		}
		_, _ = fmt.Sscanf(line, "STAT pid %d\r\n", &pid)
		if line == "END\r\n" {
			return pid, nil
		}
	}
}

func (s *server) dial() (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		return nil, nil, err
	}
	return c, bufio.NewReaderSize(c, 64<<10), c.SetDeadline(time.Now().Add(120 * time.Second))
}

// kill ends the server at once, and stop in order.
func (s *server) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.exited
	_ = os.RemoveAll(filepath.Dir(s.socket))
}

func (s *server) end(sig syscall.Signal) error {
	defer os.RemoveAll(filepath.Dir(s.socket))
	if err := syscall.Kill(s.pid, sig); err != nil {
		return err
	}
	err := <-s.exited
	if sig == syscall.SIGKILL {
		return nil
	}
	return err
}

// record runs the script: two servers after each other on the same file. The first one is killed
// under always, which does not depend on an end in order.
func (p *power) record() error {
	for leg := range 2 {
		trace := filepath.Join(p.Dir, fmt.Sprintf("trace%d", leg))
		s, err := p.start(trace, filepath.Join(p.files(), powerFile))
		if err != nil {
			return err
		}
		if err := p.script(s, p.Commands/2); err != nil {
			s.kill()
			return err
		}
		sig := syscall.SIGTERM
		if leg == 0 && p.Mode == "always" {
			sig = syscall.SIGKILL
		}
		if err := s.end(sig); err != nil {
			return err
		}
		f, err := os.Open(trace)
		if err != nil {
			return err
		}
		if err := errors.Join(p.trace.read(f), f.Close(), os.Remove(trace)); err != nil {
			return err
		}
		if sig == syscall.SIGTERM {
			p.trace.add(deed{kind: deedStop})
		}
	}
	return nil
}

// script changes keys over all connections, flushes in between, and returns when
// everything has been answered.
func (p *power) script(s *server, commands int) error {
	for part := range 2 {
		errs := make([]error, powerConns)
		var wait sync.WaitGroup
		for c := range powerConns {
			rng := rand.New(rand.NewPCG(p.rng.Uint64(), 4))
			number := p.conns
			p.conns++
			wait.Go(func() { errs[c] = p.client(s, c, number, commands/2/powerConns, rng) })
		}
		wait.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if part == 0 {
			if err := p.flush(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// greet makes a connection known to the trace by a number.
func (s *server) greet(number int) (net.Conn, func(command string) (string, error), error) {
	c, rd, err := s.dial()
	if err != nil {
		return nil, nil, err
	}
	ask := func(command string) (string, error) {
		if _, err := io.WriteString(c, command); err != nil {
			return "", err
		}
		line, err := rd.ReadString('\n')
		return strings.TrimSpace(line), err
	}
	want := fmt.Sprintf("NF O%d", number)
	if got, err := ask(fmt.Sprintf("md - O%d\r\n", number)); err != nil || got != want {
		c.Close()
		return nil, nil, fmt.Errorf("expected %q, found %q (%v)", want, got, err)
	}
	return c, ask, nil
}

func (p *power) client(s *server, c, number, commands int, rng *rand.Rand) error {
	conn, ask, err := s.greet(number)
	if err != nil {
		return err
	}
	defer conn.Close()
	for nth := 1; nth <= commands; nth++ {
		k := p.keys[c+powerConns*rng.IntN(powerEach)]
		o := k.command(rng)
		got, err := ask(o.wire)
		if err != nil || got != o.ok {
			return fmt.Errorf("%.60q: expected %q, found %q (%v)", o.wire, o.ok, got, err)
		}
		k.states = append(k.states, powerState{state: o.next, conn: number, nth: nth})
	}
	return nil
}

func (p *power) flush(s *server) error {
	number := p.conns
	p.conns++
	conn, ask, err := s.greet(number)
	if err != nil {
		return err
	}
	defer conn.Close()
	if got, err := ask("flush_all\r\n"); err != nil || got != "OK" {
		return fmt.Errorf("flush_all: expected OK, found %q (%v)", got, err)
	}
	for _, k := range p.keys {
		k.states = append(k.states, powerState{conn: number, nth: 1})
	}
	return nil
}
