package demo

import (
	"bytes"
	"strconv"
	"strings"
)

// Proxy is a second parser, as a proxy before a memcached has one: it cuts what a
// client sends into frames, judges each, and passes on those that it allows. It
// frames as the memcached parser of cilium/proxy did, and is here to be fooled:
// wherever it and memcached do not see the same end of a command, memcached
// executes what the proxy has never judged. A server that judges what its own
// parser has understood has no such place.
type Proxy struct {
	// Allow says whether a client may use the command on the keys.
	Allow func(command string, keys []string) bool
}

// Frame is what Proxy takes for one command.
type Frame struct {
	Bytes   []byte
	Command string
	Keys    []string
	Allowed bool
}

// Frames cuts input into the frames that are complete.
func (p *Proxy) Frames(input []byte) (out []Frame) {
	for {
		// A line ends at CR LF, and nowhere else; tokens are separated by whatever is
		// blank, LF included.
		end := bytes.Index(input, []byte("\r\n"))
		if end < 0 {
			return out
		}
		f := Frame{}
		tokens := strings.Fields(string(input[:end]))
		n := end + 2
		if len(tokens) > 0 {
			f.Command = tokens[0]
		}
		switch f.Command {
		case "get", "gets":
			f.Keys = tokens[1:]
		case "set", "add", "replace", "append", "prepend", "cas":
			// The fifth token is the length of the data, whatever the others are.
			if len(tokens) > 4 {
				f.Keys = tokens[1:2]
				if size, err := strconv.Atoi(tokens[4]); err == nil {
					n += size + 2
				}
			}
		case "delete", "incr", "decr", "touch":
			if len(tokens) > 1 {
				f.Keys = tokens[1:2]
			}
		}
		if n < 0 || n > len(input) {
			return out
		}
		f.Bytes = input[:n:n]
		f.Allowed = p.Allow(f.Command, f.Keys)
		out = append(out, f)
		input = input[n:]
	}
}

// Passed is what reaches the server.
func (p *Proxy) Passed(input []byte) (out []byte) {
	for _, f := range p.Frames(input) {
		if f.Allowed {
			out = append(out, f.Bytes...)
		}
	}
	return out
}
