package rig

import (
	"context"
	"fmt"
	"log/slog"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/server"
	"sememcached/storage"
)

// InProcess is our server inside the calling process, on real sockets, for what
// cannot be seen from outside: allocations, goroutines, references to labels.
type InProcess struct {
	Addr    string // on 127.0.0.1
	Monitor *mac.Monitor
	Store   *storage.Store
	Server  *server.Server

	engine *engine.Secured
	served chan error
}

// StartInProcess starts a server with the given memory limit on a free port.
// Access control is what cfg says. Settings may be nil.
func StartInProcess(cfg mac.Config, memoryMB int, set *server.Settings) (p *InProcess, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := server.Settings{Threads: 1}
	if set != nil {
		s = *set
	}
	s.Port, s.Interfaces = -1, []string{"127.0.0.1"}
	s.MaxBytes = uint64(memoryMB) << 20
	p = &InProcess{served: make(chan error, 1)}
	if p.Monitor, err = mac.Open(cfg); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	if p.Store, err = storage.New(storage.Config{Limit: int64(memoryMB) << 20}); err != nil {
		p.Monitor.Close()
		return nil, fmt.Errorf("rig: %w", err)
	}
	eng := engine.New(engine.Config{Store: p.Store, Monitor: p.Monitor})
	p.engine = eng
	p.Server, err = server.New(eng, p.Monitor, &s, cfg.Log)
	if err == nil {
		err = p.Server.Listen()
	}
	if err != nil {
		p.Store.Close()
		p.Monitor.Close()
		return nil, fmt.Errorf("rig: %w", err)
	}
	p.Addr = p.Server.Addrs()[0].String()
	go func() { p.served <- p.Server.Serve(context.Background()) }()
	return p, nil
}

// Stop ends the server and gives everything back.
func (p *InProcess) Stop() error {
	p.Server.Shutdown(false)
	err := <-p.served
	p.engine.Close()
	p.Store.Close()
	p.Monitor.Close()
	return err
}
