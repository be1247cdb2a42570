package crashing

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// traced are the system calls that change a file or a directory, or that answer
// a client.
const traced = "openat,close,write,pwrite64,pwritev,pwritev2,writev,ftruncate,truncate,fallocate,copy_file_range," +
	"fsync,fdatasync,sync_file_range,linkat,renameat,renameat2,unlinkat,sendto,sendmsg"

// A deed is what one system call did to the disk, or that it answered a client.
type deed struct {
	kind deedKind
	file int    // which file: write, size, sync, create
	at   int64  // write: offset; size: the new length
	data []byte // write
	name string // create, remove, link, rename: in the directory
	to   string // link, rename
	conn int    // answer: whose
}

type deedKind uint8

const (
	deedWrite   deedKind = iota // of bytes
	deedSize                    // of a file
	deedSync                    // of a file: what came before it is on the disk
	deedCreate                  // of a name
	deedRemove                  // of a name
	deedLink                    // a second name
	deedRename                  // of a name
	deedSyncDir                 // of the directory
	deedAnswer                  // of a command, in the order of a connection's commands
	deedStop                    // the server has ended in order
)

// tracer makes deeds from what strace prints of a server that keeps its files in
// one directory. Threads take turns: a call that another thread's interrupts in
// print comes in two lines. What is written counts from the first of them on,
// since it may reach the disk or the client from then on; a sync counts from the second.
type tracer struct {
	dir   string
	deeds []deed

	files int            // given out so far
	names map[string]int // of the directory
	fds   map[int]int    // file of a descriptor
	dirs  map[int]bool   // descriptors of the directory
	begun map[string]string
	conns map[int]int // connection of a socket
}

func newTracer(dir string) *tracer { return &tracer{dir: dir, names: map[string]int{}} }

// read adds the deeds of one process.
func (t *tracer) read(r io.Reader) error {
	t.fds, t.dirs, t.begun, t.conns = map[int]int{}, map[int]bool{}, map[string]string{}, map[int]int{}
	br := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := br.ReadString('\n')
		if line == "" && err == io.EOF {
			return nil
		}
		if err == nil || err == io.EOF {
			err = t.line(strings.TrimSpace(line))
		}
		if err != nil {
			return fmt.Errorf("trace, line %d: %.200s: %w", n, line, err)
		}
	}
}

// line reads "PID call(args) = result", or a half of that.
func (t *tracer) line(line string) error {
	pid, rest, ok := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	// An end, a signal, a call that a killed process never ended.
	if !ok || strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "???(") {
		return nil
	}
	if _, after, resumed := strings.Cut(rest, " resumed>"); resumed && strings.HasPrefix(rest, "<... ") {
		rest = t.begun[pid] + after
		delete(t.begun, pid)
		return t.end(rest)
	}
	// strace lets a thread go in the middle of a call when the thread dies there: nobody saw
	// that call end.
	for _, cut := range []string{" <unfinished ...>", " <detached ...>"} {
		if begin, unfinished := strings.CutSuffix(rest, cut); unfinished {
			t.begun[pid] = begin
			return t.begin(begin)
		}
	}
	return errors.Join(t.begin(rest), t.end(rest))
}

// call is the name and the arguments of a system call. Strings hold nothing but
// \xNN.
func call(text string) (name string, args []string) {
	name, rest, _ := strings.Cut(text, "(")
	if i := strings.LastIndex(rest, ") "); i >= 0 {
		rest = rest[:i]
	}
	return name, strings.Split(rest, ", ")
}

func text(arg string) ([]byte, error) {
	arg = strings.TrimSpace(arg)
	if len(arg) < 2 || arg[0] != '"' || arg[len(arg)-1] != '"' {
		return nil, errors.New("expected a whole string")
	}
	return hex.DecodeString(strings.ReplaceAll(arg[1:len(arg)-1], `\x`, ""))
}

// inDir returns the name in the directory that an argument is of.
func (t *tracer) inDir(arg string) (string, bool) {
	b, err := text(arg)
	if err != nil {
		return "", false
	}
	return filepath.Base(string(b)), filepath.Dir(string(b)) == t.dir
}

func (t *tracer) add(d deed) { t.deeds = append(t.deeds, d) }

// begin is for calls that count when they begin.
func (t *tracer) begin(line string) error {
	name, args := call(line)
	fd, _ := strconv.Atoi(args[0])
	file, ours := t.fds[fd]
	switch name {
	case "pwrite64":
		if !ours {
			return nil
		}
		data, err := text(args[1])
		if err != nil {
			return err
		}
		at, err := strconv.ParseInt(strings.TrimSpace(args[3]), 10, 64)
		t.add(deed{kind: deedWrite, file: file, at: at, data: data})
		return err
	case "ftruncate":
		if !ours {
			return nil
		}
		size, err := strconv.ParseInt(args[1], 10, 64)
		t.add(deed{kind: deedSize, file: file, at: size})
		return err
	case "close":
		delete(t.fds, fd)
		delete(t.dirs, fd)
		delete(t.conns, fd)
	case "write", "writev", "pwritev", "pwritev2", "fallocate", "copy_file_range", "sync_file_range":
		if ours {
			return fmt.Errorf("expected no %s of a file that is kept", name)
		}
	case "unlinkat":
		n, ours := t.inDir(args[1])
		if _, there := t.names[n]; ours && there {
			delete(t.names, n)
			t.add(deed{kind: deedRemove, name: n})
		}
	case "linkat", "renameat", "renameat2":
		return t.second(name, args)
	case "sendto", "sendmsg":
		return t.answer(fd, line)
	}
	return nil
}

// second is a link or a rename.
func (t *tracer) second(call string, args []string) error {
	from, ours := t.inDir(args[1])
	to, too := t.inDir(args[3])
	file, there := t.names[from]
	if !ours || !too || !there {
		return nil
	}
	t.names[to] = file
	if call == "linkat" {
		t.add(deed{kind: deedLink, name: from, to: to})
		return nil
	}
	delete(t.names, from)
	t.add(deed{kind: deedRename, name: from, to: to})
	return nil
}

// answer counts the lines that a client is sent. The first one names its connection.
func (t *tracer) answer(fd int, line string) error {
	var sent []byte
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			b, err := text(`"` + part + `"`)
			if err != nil {
				return err
			}
			sent = append(sent, b...)
		}
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(string(sent), "\r\n"), "\r\n") {
		conn, known := t.conns[fd]
		if !known {
			if _, err := fmt.Sscanf(l, "NF O%d", &conn); err != nil {
				return nil // somebody who asks whether the server listens
			}
			t.conns[fd] = conn
			continue
		}
		t.add(deed{kind: deedAnswer, conn: conn})
	}
	return nil
}

// end is for calls that count when they have returned.
func (t *tracer) end(line string) error {
	name, args := call(line)
	i := strings.LastIndex(line, " = ")
	if i < 0 {
		return errors.New("expected a result")
	}
	result, _, _ := strings.Cut(line[i+3:], " ")
	n, err := strconv.Atoi(result)
	if err != nil {
		return nil // "?", of a call that never returned
	}
	fd, _ := strconv.Atoi(args[0])
	file, ours := t.fds[fd]
	switch name {
	case "openat":
		return t.open(n, args)
	case "fsync", "fdatasync":
		switch {
		case n != 0:
			return errors.New("expected it to succeed")
		case ours:
			t.add(deed{kind: deedSync, file: file})
		case t.dirs[fd]:
			t.add(deed{kind: deedSyncDir})
		}
	case "pwrite64":
		if want, err := strconv.Atoi(strings.TrimSpace(args[2])); ours && (err != nil || n != want) {
			return fmt.Errorf("expected it to write %s bytes", args[2])
		}
	}
	return nil
}

func (t *tracer) open(fd int, args []string) error {
	b, err := text(args[1])
	if fd < 0 || err != nil {
		return err
	}
	delete(t.fds, fd)
	delete(t.dirs, fd)
	if filepath.Clean(string(b)) == t.dir {
		t.dirs[fd] = true
		return nil
	}
	name, ours := t.inDir(args[1])
	if !ours {
		return nil
	}
	file, there := t.names[name]
	switch {
	case there && strings.Contains(args[2], "O_TRUNC"):
		t.add(deed{kind: deedSize, file: file})
	case !there && !strings.Contains(args[2], "O_CREAT"):
		return nil // not of this run: a log
	case !there:
		file = t.files
		t.files++
		t.names[name] = file
		t.add(deed{kind: deedCreate, file: file, name: name})
	}
	t.fds[fd] = file
	return nil
}
