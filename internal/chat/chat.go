// Package chat reads and runs transcripts of conversations with a server, the
// .chat files of the tests. It is test support; no product code imports it.
//
// A transcript is read line by line; the first word says what a line is:
//
//	# why                    a comment; blank lines are for the eye
//	policy two_rooms         load a policy, by a name that the test knows
//	as u:r:web_t:s0          go on as this client, connected when it first speaks
//	at +10s                  move the clock, in words that the test knows
//	> get k                  send the text and CR LF
//	> "get k\n"              send exactly these bytes, a Go string
//	>x 80 00 0001            send these bytes, in hexadecimal; # ends the bytes
//	< END                    expect the text and CR LF
//	< "END\r\n"              expect exactly these bytes
//	<x 81 00 0000            expect these bytes
//	closed                   expect the server to close the connection
//	audit denied { read }    expect an audit record with these words in this order
//
// The text of > and < begins after one space and goes to the end of the line,
// trailing spaces included; a lone > or < is an empty line. A text that begins
// with a quote must be a Go string.
//
// What is sent between two expectations is sent at once, so that requests are
// pipelined as they stand in the file. Replies are compared by their bytes, in
// order; what a client received and nobody expected is an error at the end.
package chat

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Op is the kind of a step.
type Op uint8

// The kinds of steps; see the package comment.
const (
	Send Op = iota + 1
	Expect
	Closed
	As
	At
	Policy
	Audit
)

// A Step is one line of a transcript that does something.
type Step struct {
	Op   Op
	Line int    // in the file, from 1
	Data []byte // of Send and Expect, the exact bytes
	Arg  string // of As, At, Policy and Audit, the text
	Hex  bool   // Send and Expect were written in hexadecimal
}

// A Script is a transcript that has been read.
type Script struct {
	File  string // as it is to be called in messages
	Steps []Step
	lines []string
}

// Parse reads the text of a transcript. Errors begin with file:line.
func Parse(file, text string) (*Script, error) {
	s := &Script{File: file, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	for i, line := range s.lines {
		step, ok, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		if ok {
			step.Line = i + 1
			s.Steps = append(s.Steps, step)
		}
	}
	return s, nil
}

// parseLine reads one line; ok is false if it does nothing.
func parseLine(line string) (step Step, ok bool, err error) {
	word, rest, spaced := strings.Cut(line, " ")
	arg := strings.TrimSpace(rest)
	switch word {
	case "":
		if strings.TrimSpace(line) != "" {
			return step, false, fmt.Errorf("expected a word at the start of the line, found %q", line)
		}
		return step, false, nil
	case ">":
		step.Op = Send
	case "<":
		step.Op = Expect
	case ">x":
		step.Op, step.Hex = Send, true
	case "<x":
		step.Op, step.Hex = Expect, true
	case "closed":
		if arg != "" && arg[0] != '#' {
			return step, false, fmt.Errorf("expected nothing after closed, found %q", arg)
		}
		step.Op = Closed
		return step, true, nil
	case "as":
		step.Op = As
	case "at":
		step.Op = At
	case "policy":
		step.Op = Policy
	case "audit":
		step.Op = Audit
	default:
		if word[0] == '#' {
			return step, false, nil
		}
		return step, false, fmt.Errorf("expected #, >, >x, <, <x, closed, as, at, policy or audit, found %q", word)
	}
	if step.Op != Send && step.Op != Expect {
		if arg == "" {
			return step, false, fmt.Errorf("expected an argument after %s", word)
		}
		step.Arg = arg
		return step, true, nil
	}
	if step.Hex {
		step.Data, err = parseHex(rest)
		return step, err == nil, err
	}
	if !spaced {
		rest = ""
	}
	if strings.HasPrefix(rest, `"`) {
		text, err := strconv.Unquote(strings.TrimSpace(rest))
		if err != nil {
			return step, false, fmt.Errorf("expected a Go string, found %s: %w", rest, err)
		}
		step.Data = []byte(text)
		return step, true, nil
	}
	step.Data = []byte(rest + "\r\n")
	return step, true, nil
}

// parseHex reads bytes in hexadecimal, with spaces anywhere, up to a #.
func parseHex(text string) ([]byte, error) {
	digits, _, _ := strings.Cut(text, "#")
	digits = strings.Join(strings.Fields(digits), "")
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("expected hexadecimal bytes, found %q: %w", text, err)
	}
	return b, nil
}
