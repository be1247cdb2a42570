package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/mac"
)

// controlPath is the socket through which a server is asked about its data file.
func controlPath(data string) string { return data + ".ctl" }

// control answers on that socket. What it gives is what the file holds, so
// that it asks for what reading the file does: the server's user, or root; and for
// kv_server dump, which a listing of all keys over the network needs.
//
//	-> "backup\n"
//	<- frames: length u32, big endian, then as many bytes; length 0 and then a
//	   line end them: "OK", or what went wrong
type control struct {
	eng  *engine.Secured
	data *engine.Data
	log  *slog.Logger
	l    *net.UnixListener
	path string
	wait sync.WaitGroup
}

// startControl begins to answer. A path that is too long for a socket, or that
// cannot be used, costs backups while serving and nothing else.
func startControl(path string, eng *engine.Secured, data *engine.Data, log *slog.Logger) *control {
	c := &control{eng: eng, data: data, log: log, path: path}
	// The data file is locked: a socket that is there is nobody's any more.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("data: no backups while serving", "error", err)
		return c
	}
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		log.Warn("data: no backups while serving", "error", err)
		return c
	}
	c.l = l
	c.wait.Go(c.serve)
	return c
}

func (c *control) close() {
	if c.l != nil {
		_ = c.l.Close() // removes the socket; what is under way ends with an error at the other end
	}
	c.wait.Wait()
}

func (c *control) serve() {
	for {
		conn, err := c.l.AcceptUnix()
		if err != nil {
			return
		}
		c.wait.Go(func() {
			defer conn.Close()
			c.answer(conn)
		})
	}
}

func (c *control) answer(conn *net.UnixConn) {
	w := bufio.NewWriterSize(conn, 256<<10)
	err := c.backup(conn, w)
	text := "OK"
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", " ")
		c.log.Warn("data: a backup failed", "error", err)
	}
	_, _ = w.Write([]byte{0, 0, 0, 0}) // the reader is told, or has gone
	_, _ = w.WriteString(text + "\n")
	_ = w.Flush()
}

func (c *control) backup(conn *net.UnixConn, w io.Writer) error {
	line, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	if err != nil || line != "backup\n" {
		return fmt.Errorf("expected \"backup\", found %.20q", line)
	}
	allowed, err := c.may(conn)
	if err != nil {
		return err
	}
	if !allowed {
		return errors.New("access denied")
	}
	return c.data.Backup(frameWriter{w})
}

// may says whether the other end may have a copy.
func (c *control) may(conn *net.UnixConn) (ok bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false, err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner != nil {
			return
		}
		if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
			return
		}
		ok = c.eng.PeerMay(&mac.Peer{FD: int(fd), HasCred: true, UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, Path: c.path}, engine.OpDump)
	})
	return ok, errors.Join(err, inner)
}

// frameWriter writes frames.
type frameWriter struct{ w io.Writer }

func (f frameWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), 1<<20)]
		if _, err := f.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
			return n, err
		}
		k, err := f.w.Write(part)
		if n += k; err != nil {
			return n, err
		}
		p = p[len(part):]
	}
	return n, nil
}

// readFrames copies frames to w, to their end.
func readFrames(r io.Reader, w io.Writer) error {
	br := bufio.NewReaderSize(r, 256<<10)
	for {
		var head [4]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return fmt.Errorf("the server ended before the copy did: %w", err)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			line, err := br.ReadString('\n')
			if err != nil {
				return err
			}
			if line != "OK\n" {
				return fmt.Errorf("the server says: %s", strings.TrimSpace(line))
			}
			return nil
		}
		if _, err := io.CopyN(w, br, int64(n)); err != nil {
			return err
		}
	}
}
