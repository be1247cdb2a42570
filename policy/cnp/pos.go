package cnp

import (
	"errors"
	"fmt"
	"strings"
)

// Pos is a place in a file.
type Pos struct {
	File string
	Line int // from 1
}

// String is FILE:LINE.
func (p Pos) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Mode is how files are read and requests judged. The zero value is Strict.
type Mode uint8

// The modes.
const (
	Strict Mode = iota
	Cilium
)

// String is the word of the command line.
func (m Mode) String() string {
	if m == Cilium {
		return "cilium"
	}
	return "strict"
}

// Problem is something wrong at a place: an error, with which nothing is loaded,
// or a warning.
type Problem struct {
	Pos  Pos
	Text string
}

// Error is FILE:LINE: text.
func (p *Problem) Error() string { return p.Pos.String() + ": " + p.Text }

// maxProblems bounds the list of one run.
const maxProblems = 50

// problems are the errors and the warnings of a file.
type problems struct {
	mode     Mode
	errs     []error
	warnings []Problem
}

func (ps *problems) fail(at Pos, format string, args ...any) {
	if len(ps.errs) < maxProblems {
		ps.errs = append(ps.errs, &Problem{at, fmt.Sprintf(format, args...)})
	}
}

func (ps *problems) warn(at Pos, format string, args ...any) {
	if len(ps.warnings) < maxProblems {
		ps.warnings = append(ps.warnings, Problem{at, fmt.Sprintf(format, args...)})
	}
}

// strict is an error in mode Strict and a warning in mode Cilium.
func (ps *problems) strict(at Pos, format string, args ...any) {
	if ps.mode == Strict {
		ps.fail(at, format, args...)
	} else {
		ps.warn(at, format, args...)
	}
}

// err joins the errors, one a line.
func (ps *problems) err() error { return errors.Join(ps.errs...) }

// quoteList is a list of words for a message.
func quoteList(words []string) string { return strings.Join(words, ", ") }
