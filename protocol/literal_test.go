package protocol_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Test files write bytes as Go strings, joined by + and repeated by N*, so that
// a megabyte stays one line:
//
//	"set foo 0 0 1048576\r\n" + 1048576*"x" + "\r\n"

// literal reads such an expression.
func literal(text string) ([]byte, error) {
	var b []byte
	for rest := strings.TrimSpace(text); ; {
		times := 1
		if i := strings.IndexAny(rest, "*\""); i > 0 && rest[i] == '*' {
			n, err := strconv.Atoi(rest[:i])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			times, rest = n, rest[i+1:]
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: expected a quoted string at %q: %w", text, rest, err)
		}
		s, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		b = append(b, bytes.Repeat([]byte(s), times)...)
		rest = strings.TrimSpace(rest[len(quoted):])
		if rest == "" {
			return b, nil
		}
		if rest[0] != '+' {
			return nil, fmt.Errorf("%q: expected + at %q", text, rest)
		}
		rest = strings.TrimSpace(rest[1:])
	}
}
