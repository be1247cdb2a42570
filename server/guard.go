package server

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// runGuarded is run with the panic policy: what a client can provoke in parsing
// and dispatch costs it its connection; what happened inside the engine or the
// store may have left a lock held or an item half written, and ends the process.
func (l *loop) runGuarded(c *conn, budget int) (more bool) {
	defer func() {
		l.hint, l.hints = 0, 0
		if v := recover(); v != nil {
			l.rescue(c, v)
			more = false
		}
	}()
	return l.run(c, budget)
}

// rescue deals with a panic that a connection's input caused.
func (l *loop) rescue(c *conn, v any) {
	if pcs := make([]uintptr, 64); lockHeld(pcs[:runtime.Callers(2, pcs)]) {
		panic(v)
	}
	l.logPanic(c, fmt.Sprint(v))
	l.srv.log.Error("panic while serving a connection, which is closed",
		"panic", fmt.Sprint(v), "peer", c.name(), "input", shown(c.input), "stack", string(debug.Stack()))
	l.out, l.telling = l.out[:l.mark], false
	l.close(c)
}

// lockHeld says whether the panic whose stack is pcs passed through code that
// holds locks of the store.
func lockHeld(pcs []uintptr) bool {
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "sememcached/engine.") || strings.HasPrefix(f.Function, "sememcached/storage.") {
			return true
		}
		if !more {
			return false
		}
	}
}
