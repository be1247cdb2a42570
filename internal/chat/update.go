package chat

import (
	"fmt"
	"strconv"
	"strings"
)

// difference is the error of an expectation that was not met.
func (p *play) difference(steps []Step, want, got []byte, note string) error {
	hexadecimal := steps[0].Hex
	wantLines, gotLines := lines(want, hexadecimal), lines(got, hexadecimal)
	same := 0
	for same < len(wantLines) && same < len(gotLines) && wantLines[same] == gotLines[same] {
		same++
	}
	line := steps[min(same, len(steps)-1)].Line
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: the reply differs (-want +got)%s\n", p.script.File, line, note)
	if p.as != "" {
		fmt.Fprintf(&b, "as %s\n", p.as)
	}
	for _, s := range p.sent {
		fmt.Fprintf(&b, "%s\n", p.script.lines[s.Line-1])
	}
	b.WriteString(prefixed("  ", wantLines[:same]))
	b.WriteString(prefixed("- ", wantLines[same:]))
	b.WriteString(prefixed("+ ", gotLines[same:]))
	return &Difference{text: strings.TrimSuffix(b.String(), "\n")}
}

// A Difference is a reply that is not the expected one. Its text has file, line
// and a diff.
type Difference struct{ text string }

func (d *Difference) Error() string { return d.text }

func prefixed(prefix string, lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(prefix + line + "\n")
	}
	return b.String()
}

// lines writes data as the arguments of < or <x steps.
func lines(data []byte, hexadecimal bool) []string {
	var out []string
	if hexadecimal {
		for len(data) > 0 {
			n := min(24, len(data))
			out = append(out, fmt.Sprintf("% x", data[:n]))
			data = data[n:]
		}
		return out
	}
	for rest := string(data); rest != ""; {
		line, after, found := strings.Cut(rest, "\n")
		text, crlf := strings.CutSuffix(line, "\r")
		if found && crlf && plain(text) {
			out = append(out, text)
		} else {
			out = append(out, strconv.Quote(rest[:len(rest)-len(after)]))
		}
		rest = after
	}
	return out
}

// plain reports whether text can stand in a transcript as it is.
func plain(text string) bool {
	if strings.HasPrefix(text, `"`) || strings.HasSuffix(text, " ") {
		return false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// Update runs s and returns its text with the expectations replaced by what the
// server said until it was silent for Quiet. Expectations that are met keep
// their lines, comments of hexadecimal ones included. Steps of audit are left as
// they are and not compared.
func (r *Runner) Update(s *Script) (string, error) {
	p := r.play(s)
	defer p.close()
	steps := map[int]Step{} // by index into lines
	for _, step := range s.Steps {
		steps[step.Line-1] = step
	}
	var out []string
	pending := false // something was sent and nobody has listened yet
	hexadecimal := false
	for i := 0; i < len(s.lines); i++ {
		step := steps[i]
		if step.Op == Send {
			var data []byte
			for ; i < len(s.lines) && steps[i].Op == Send; i++ {
				data = append(data, steps[i].Data...)
				hexadecimal = steps[i].Hex
				out = append(out, s.lines[i])
			}
			i--
			if err := p.send(step.Line, data); err != nil {
				return "", err
			}
			pending = true
			continue
		}
		// Whatever else comes, the server is heard first.
		old := i
		var want []byte
		wantClosed := false
		for i < len(s.lines) && (steps[i].Op == Expect || steps[i].Op == Closed) {
			want = append(want, steps[i].Data...)
			wantClosed = wantClosed || steps[i].Op == Closed
			hexadecimal = steps[i].Hex
			i++
		}
		if pending {
			heard, err := p.hear(want, wantClosed, s.lines[old:i], hexadecimal)
			if err != nil {
				return "", err
			}
			out = append(out, heard...)
			pending = false
		}
		if i > old {
			i--
			continue
		}
		if step.Op != 0 && step.Op != Audit {
			if err := p.other(step); err != nil {
				return "", err
			}
		}
		out = append(out, s.lines[i])
	}
	if pending {
		heard, err := p.hear(nil, false, nil, hexadecimal)
		if err != nil {
			return "", err
		}
		out = append(out, heard...)
	}
	return strings.Join(out, "\n") + "\n", nil
}

// hear reads what the server says and returns the lines that expect it: old, if
// these expect just that.
func (p *play) hear(want []byte, wantClosed bool, old []string, hexadecimal bool) ([]string, error) {
	c := p.clients[p.as]
	got, closed, err := c.readQuiet(p.Quiet)
	if err != nil {
		return nil, p.errorf(c.line, "%w", err)
	}
	c.closed = closed
	if string(got) == string(want) && closed == wantClosed {
		return old, nil
	}
	mark := "< "
	if hexadecimal {
		mark = "<x "
	}
	var out []string
	for _, line := range lines(got, hexadecimal) {
		out = append(out, strings.TrimSuffix(mark+line, " "))
	}
	if closed {
		out = append(out, "closed")
	}
	return out, nil
}
