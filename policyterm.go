package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether people watch w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// wantsColour: only on a terminal that can, and not where NO_COLOR is set.
func wantsColour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// paints are what begins a line that has a colour.
var paints = []struct{ prefix, colour string }{
	{"allowed", green},
	{"denied, not enforced", yellow},
	{"denied", red},
	{"error", red},
	{"ok ", green},
	{"not ok ", red},
	{"now allowed", green},
	{"still denied", red},
	{"cannot tell", yellow},
	{"  gained ", green},
	{"  lost ", red},
	{"create  allowed", green},
	{"create  denied", red},
	{"write   allowed", green},
	{"write   denied", red},
	{"relabel allowed", green},
	{"relabel denied", red},
}

// write writes text, on a terminal with its answers in colour.
func (t *terminal) write(text string) error {
	if t.colour {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(painted(line))
		}
		text = b.String()
	}
	_, err := io.WriteString(t.out, text)
	return err
}

func painted(line string) string {
	for _, p := range paints {
		if rest, ok := strings.CutPrefix(line, p.prefix); ok {
			return p.colour + p.prefix + plain + rest
		}
	}
	return line
}

// writeJSON writes v indented, with a newline.
func (t *terminal) writeJSON(v any) error {
	e := json.NewEncoder(t.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// progress says on stderr how far something is that takes more than a second:
// on a terminal once a second in one line, elsewhere ever more rarely, so that a
// log stays short.
type progress struct {
	w     io.Writer
	what  string
	tty   bool
	now   func() time.Time
	start time.Time
	next  time.Time
	shown bool
}

func (t *terminal) progress(what string) *progress {
	return newProgress(t.err, what, isTerminal(t.err), time.Now)
}

func newProgress(w io.Writer, what string, tty bool, now func() time.Time) *progress {
	start := now()
	return &progress{w: w, what: what, tty: tty, now: now, start: start, next: start.Add(time.Second)}
}

// step is called often, with what is done of how many; total 0 is unknown.
func (p *progress) step(done, total int) {
	if done&255 != 0 {
		return
	}
	now := p.now()
	if now.Before(p.next) {
		return
	}
	elapsed := now.Sub(p.start)
	p.next, p.shown = now.Add(time.Second), true
	line := fmt.Sprintf("%s: %d", p.what, done)
	if total > 0 {
		line += fmt.Sprintf(" of %d (%d%%)", total, 100*done/total)
	}
	line += fmt.Sprintf(", %.0f s", elapsed.Seconds())
	if p.tty {
		fmt.Fprintf(p.w, "\r%s\x1b[K", line)
		return
	}
	p.next = now.Add(elapsed)
	fmt.Fprintln(p.w, line)
}

// end takes the line away.
func (p *progress) end() {
	if p.shown && p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
