package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/bench/rig"
	"sememcached/mac"
	"sememcached/server"
)

const (
	ampleMB   = 1024
	scarceMB  = 8
	maxLabels = 1024 // few, so that their numbers are used again and again
	tenants   = 4    // ordinary ones; c1 to c4
)

// world is everything that takes part.
type world struct {
	*settings
	out    io.Writer
	outMu  sync.Mutex
	ample  *rig.InProcess
	scarce *rig.InProcess
	counts counts
	audit  tail
	gaveUp [2]atomic.Int64 // denials excused, of both servers
	stop   chan struct{}   // closed when the time is over
	halted sync.Once
	errMu  sync.Mutex
	err    error // the first failure of any client
}

// counts is what has been done, for the log.
type counts struct {
	commands, batches, connections                          atomic.Int64
	breaks, halfCloses, slow, broken, endless, denied, gone atomic.Int64
	labels, full, reloads, expired, flushes                 atomic.Int64
	meta, binary, dumps, watches, gaveUp                    atomic.Int64
}

func (w *world) printf(format string, args ...any) {
	w.outMu.Lock()
	defer w.outMu.Unlock()
	fmt.Fprintf(w.out, format+"\n", args...)
}

// fail notes a failure and ends the soak.
func (w *world) fail(err error) {
	w.errMu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.errMu.Unlock()
	w.halt()
}

func (w *world) halt() { w.halted.Do(func() { close(w.stop) }) }

// tenantOf is the tenant of a client: two administrators and the one that flushes
// come first; every fourth client uses the server with scarce memory.
func tenantOf(id int) int {
	switch id {
	case 0, 3:
		return admin
	case 1:
		return flusher
	}
	return id / 4 % tenants
}

// source is the address that a tenant's clients come from, and its context.
func source(tenant int) string { return fmt.Sprintf("127.0.8.%d", tenant+1) }

const (
	admin   = tenants     // index of the administrator
	flusher = tenants + 1 // index of the tenant that flushes; it has one connection
)

func contextOf(tenant int) string {
	if tenant == admin {
		return "system_u:system_r:kv_admin_t:s0-s0:c0.c1023"
	}
	return fmt.Sprintf("system_u:system_r:kv_client_t:s0:c%d", tenant+1)
}

func labelOf(tenant int) string {
	if tenant == admin {
		return "system_u:object_r:kv_item_t:s0"
	}
	return fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", tenant+1)
}

func (w *world) soak() error {
	w.stop = make(chan struct{})
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	contexts := filepath.Join(dir, "contexts")
	var lines []byte
	for t := range tenants + 2 {
		lines = fmt.Appendf(lines, "client cidr:%s/32 %s\n", source(t), contextOf(t))
	}
	if err := os.WriteFile(contexts, lines, 0o600); err != nil {
		return err
	}
	cfg := mac.Config{Mode: mac.PolicyFile, ContextsFile: contexts, AuditWriter: &w.audit, MaxLabels: maxLabels}
	set := &server.Settings{Threads: w.threads, MaxConns: 2*w.conns + 64}
	if w.ample, err = rig.StartInProcess(cfg, ampleMB, set); err != nil {
		return err
	}
	defer func() { _ = w.ample.Stop() }()
	if w.scarce, err = rig.StartInProcess(cfg, scarceMB, set); err != nil {
		return err
	}
	defer func() { _ = w.scarce.Stop() }()
	if err := w.warm(); err != nil {
		return err
	}
	before, err := w.footprint()
	if err != nil {
		return err
	}
	w.printf("before    %v", before)
	w.use()
	if w.err != nil {
		w.evidence()
		return w.err
	}
	w.report()
	return w.leaks(before)
}

// warm uses every path once, so that what is made at the first use is there.
func (w *world) warm() error {
	for _, p := range []*rig.InProcess{w.ample, w.scarce} {
		c := newClient(w, -1, p, 0)
		if err := c.dial(); err != nil {
			return err
		}
		for range 50 {
			if err := c.batch(); err != nil {
				return err
			}
		}
		if err := c.leave(); err != nil {
			return err
		}
	}
	return nil
}

// use runs all clients until the time is over or one has failed.
func (w *world) use() {
	var group sync.WaitGroup
	for i := range w.conns {
		p := w.ample
		if i%4 == 3 {
			p = w.scarce
		}
		tenant := tenantOf(i)
		group.Go(func() {
			if err := newClient(w, i, p, tenant).live(); err != nil {
				w.fail(fmt.Errorf("connection %d (tenant %d, %s): %w", i, tenant, map[bool]string{true: "ample", false: "scarce"}[p == w.ample], err))
			}
		})
	}
	group.Go(w.reload)
	group.Go(w.watch)
	select {
	case <-time.After(w.duration):
		w.halt()
	case <-w.stop:
	}
	group.Wait()
}

// reload loads the policy again and again.
func (w *world) reload() {
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
		for _, p := range []*rig.InProcess{w.ample, w.scarce} {
			if err := p.Monitor.Reload(); err != nil {
				w.fail(fmt.Errorf("reload: %w", err))
			}
		}
		w.counts.reloads.Add(1)
	}
}

// watch writes a line every minute.
func (w *world) watch() {
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(time.Minute):
		}
		w.report()
		if f, err := w.footprint(); err == nil {
			w.printf("          %v", f)
		}
	}
}

func (w *world) report() {
	n := &w.counts
	w.printf("%s  commands %d (meta %d, binary %d, dumps %d) batches %d connections %d, watchers %d; broken off %d, half closed %d, slow %d, broken input %d, endless lines %d; foreign reads refused %d, evicted %d, expired %d, flushes %d, labels %d (refused for want of numbers or memory %d), reloads %d, requests given up %d",
		time.Now().UTC().Format("15:04:05"), n.commands.Load(), n.meta.Load(), n.binary.Load(), n.dumps.Load(), n.batches.Load(), n.connections.Load(), n.watches.Load(), n.breaks.Load(), n.halfCloses.Load(),
		n.slow.Load(), n.broken.Load(), n.endless.Load(), n.denied.Load(), n.gone.Load(), n.expired.Load(), n.flushes.Load(), n.labels.Load(), n.full.Load(), n.reloads.Load(), n.gaveUp.Load())
}
