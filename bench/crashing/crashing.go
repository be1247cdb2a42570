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
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is one run.
type Config struct {
	Server   string // the binary
	Dir      string // for the files of the run
	Sync     string // interval or always
	Interval time.Duration
	Bound    time.Duration // beyond the interval, what may be lost under interval
	Load     string        // eager or lazy
	Rounds   int
	Conns    int
	Keys     int // of each connection
	Seed     uint64
	Log      io.Writer
}

// Report is what was seen.
type Report struct {
	Rounds, Commands, Checked, Items int
	// Lost is how many keys were found in a state older than their last
	// acknowledged one (interval only), and Oldest how long before the kill the
	// oldest state that was lost had been acknowledged.
	Lost   int
	Oldest time.Duration
	// Later is how many keys were found in a state that was never acknowledged.
	Later int
}

const tenants = 2

// contexts tell the tenants apart by their address.
const contexts = `client cidr:127.0.9.1/32 system_u:system_r:kv_client_t:s0:c1
client cidr:127.0.9.2/32 system_u:system_r:kv_client_t:s0:c2
client * system_u:system_r:kv_admin_t:s0-s0:c0.c1023
`

// run is a run under way.
type run struct {
	Config
	report Report
	rng    *rand.Rand
	port   int
	cmd    *exec.Cmd
	exited chan error
	log    *os.File
	model  [][]*history // by connection
}

// Run makes the rounds. The error says what was wrong, first of all.
func Run(cfg Config) (Report, error) {
	r := &run{Config: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1))}
	for c := range cfg.Conns {
		var hs []*history
		for k := range cfg.Keys {
			hs = append(hs, &history{key: fmt.Sprintf("c%d:%d", c, k), number: k%7 == 0, states: []state{{}}})
		}
		r.model = append(r.model, hs)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "contexts"), []byte(contexts), 0o600); err != nil {
		return r.report, err
	}
	var err error
	if r.log, err = os.Create(filepath.Join(cfg.Dir, "server.log")); err != nil {
		return r.report, err
	}
	defer r.log.Close()
	for r.report.Rounds < cfg.Rounds {
		if err := r.round(); err != nil {
			r.kill()
			return r.report, fmt.Errorf("round %d (seed %d): %w", r.report.Rounds, cfg.Seed, err)
		}
		r.report.Rounds++
		if cfg.Log != nil && r.report.Rounds%10 == 0 {
			fmt.Fprintf(cfg.Log, "%s %-8s round %d: %+v\n", time.Now().UTC().Format("15:04:05"), cfg.Sync, r.report.Rounds, r.report)
		}
	}
	return r.report, nil
}

// round is a start, a load, a kill, a start, and a look at everything.
func (r *run) round() error {
	if err := r.start(r.Load); err != nil {
		return err
	}
	flush := r.rng.IntN(10) == 0
	killed, err := r.load(time.Duration(30+r.rng.IntN(600))*time.Millisecond, flush)
	if err != nil {
		return err
	}
	if err := r.start("eager"); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	if err := r.check(killed); err != nil {
		return err
	}
	r.kill()
	return nil
}

func (r *run) start(load string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	r.cmd = exec.Command(r.Server, "-u", "root", "-l", "127.0.0.1", "-p", strconv.Itoa(r.port), "-t", "2", "-m", "256",
		"--contexts", filepath.Join(r.Dir, "contexts"), "--mac", "policy", "--audit-log", os.DevNull,
		"--data", filepath.Join(r.Dir, "data"), "--sync", r.Sync, "--sync-interval", r.Interval.String(), "--load", load)
	r.cmd.Stderr = r.log
	if err := r.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func(c *exec.Cmd) { exited <- c.Wait() }(r.cmd)
	r.exited = exited
	for until := time.Now().Add(60 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-exited:
			exited <- err
			return fmt.Errorf("the server ended: %v; see %s", err, r.log.Name())
		default:
		}
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)))
		if err == nil {
			return c.Close()
		}
	}
	return errors.New("the server did not listen within a minute")
}

// kill ends the server at once.
func (r *run) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		<-r.exited
		r.cmd = nil
	}
}

func (r *run) dial(tenant int) (net.Conn, *bufio.Reader, error) {
	d := net.Dialer{Timeout: 20 * time.Second}
	if tenant > 0 {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(tenant))}
	}
	c, err := d.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)))
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(120 * time.Second))
	return c, bufio.NewReaderSize(c, 64<<10), nil
}

// load changes keys until the server is killed, after d. With flush everybody
// stops then, and everything is flushed right before the kill.
func (r *run) load(d time.Duration, flush bool) (killed time.Time, err error) {
	stop := make(chan struct{})
	errs := make(chan error, len(r.model))
	counts := make([]int, len(r.model))
	var wait sync.WaitGroup
	for i := range r.model {
		rng := rand.New(rand.NewPCG(r.rng.Uint64(), 2))
		wait.Go(func() {
			if err := r.change(i, rng, stop, &counts[i]); err != nil {
				errs <- err
			}
		})
	}
	time.Sleep(d)
	if flush {
		close(stop)
		wait.Wait()
		if err = r.flush(); err != nil {
			return killed, err
		}
		if r.Sync != "always" {
			time.Sleep(r.Interval + r.Bound)
		}
	}
	killed = time.Now()
	r.kill()
	if !flush {
		close(stop)
		wait.Wait()
	}
	for _, n := range counts {
		r.report.Commands += n
	}
	select {
	case err := <-errs:
		return killed, err
	default:
		return killed, nil
	}
}

// change is one connection: a command after the other, each on a key of its own.
func (r *run) change(i int, rng *rand.Rand, stop chan struct{}, count *int) error {
	conn, rd, err := r.dial(1 + i%tenants)
	if err != nil {
		return nil // it was killed already
	}
	defer conn.Close()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		h := r.model[i][rng.IntN(len(r.model[i]))]
		o := h.command(rng)
		h.states = append(h.states, o.next)
		if _, err := io.WriteString(conn, o.wire); err != nil {
			return nil
		}
		line, err := rd.ReadString('\n')
		if err != nil {
			return nil
		}
		*count++
		if line = strings.TrimSpace(line); line == "NOT_FOUND" && o.partial && r.Load == "lazy" {
			h.states = h.states[:len(h.states)-1] // it was not loaded yet: nothing has changed
			continue
		}
		if line != o.ok {
			return fmt.Errorf("%.60q: expected %q, found %q", o.wire, o.ok, line)
		}
		h.last().acked = time.Now()
	}
}

// flush flushes everything, by the tenants.
func (r *run) flush() error {
	for t := range tenants {
		conn, rd, err := r.dial(1 + t)
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, "flush_all\r\n")
		line, err := rd.ReadString('\n')
		conn.Close()
		if err != nil || strings.TrimSpace(line) != "OK" {
			return fmt.Errorf("flush_all: expected OK, found %q, %v", line, err)
		}
	}
	for _, hs := range r.model {
		for _, h := range hs {
			h.states = append(h.states, state{acked: time.Now()})
		}
	}
	return nil
}

// check looks at every key.
func (r *run) check(killed time.Time) error {
	conn, rd, err := r.dial(0)
	if err != nil {
		return err
	}
	defer conn.Close()
	before := killed.Add(-r.Interval - r.Bound)
	for i, hs := range r.model {
		for _, h := range hs {
			found, err := look(conn, rd, h.key)
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", 1+i%tenants); found.exists && found.label != want {
				return fmt.Errorf("key %s: expected label %s, found %s", h.key, want, found.label)
			}
			at, err := h.find(&found, r.Sync == "always", before)
			if err != nil {
				return err
			}
			r.report.Checked++
			if found.exists {
				r.report.Items++
			}
			r.note(h, at, killed)
			h.settle(&found)
		}
	}
	return nil
}

// note counts what the crash has cost.
func (r *run) note(h *history, at int, killed time.Time) {
	if h.states[at].acked.IsZero() && at > 0 {
		r.report.Later++
	}
	for _, s := range h.states[at+1:] {
		if !s.acked.IsZero() {
			r.report.Lost++
			r.report.Oldest = max(r.report.Oldest, killed.Sub(s.acked))
			return
		}
	}
}

// look reads one key with everything that is kept of it.
func look(conn net.Conn, rd *bufio.Reader, key string) (s state, err error) {
	if _, err = fmt.Fprintf(conn, "mg %s v f t\r\n", key); err != nil {
		return s, err
	}
	line, err := rd.ReadString('\n')
	if err != nil || line == "EN\r\n" {
		return s, err
	}
	var n, ttl int
	if _, err := fmt.Sscanf(line, "VA %d f%d t%d\r\n", &n, &s.flags, &ttl); err != nil {
		return s, fmt.Errorf("mg %s: found %q: %w", key, line, err)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(rd, b); err != nil {
		return s, err
	}
	s.exists, s.value, s.ttl = true, string(b[:n]), ttl >= 0
	if _, err = fmt.Fprintf(conn, "mac label %s\r\n", key); err != nil {
		return s, err
	}
	if line, err = rd.ReadString('\n'); err != nil {
		return s, err
	}
	if _, err := fmt.Sscanf(line, "LABEL "+key+" %s\r\n", &s.label); err != nil {
		return s, fmt.Errorf("key %s: expected its label, found %q", key, line)
	}
	return s, nil
}
