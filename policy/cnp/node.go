package cnp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a file in bytes: what a hundred thousand rules take, several
// times.
const maxFile = 256 << 20

// node is a YAML node with the file it is in. Positions are why the parser is
// used directly: a decoder into structures loses them.
type node struct {
	*yaml.Node
	file string
}

func (n node) pos() Pos { return Pos{n.file, n.Line} }

// documents reads the documents of a file.
func documents(file string, b []byte) ([]node, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: expected at most %d bytes, found %d", file, maxFile, len(b))
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var docs []node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(doc.Content) == 1 {
			docs = append(docs, node{doc.Content[0], file})
		}
	}
}

// maxShown is how much of a scalar a message shows, in bytes: a file that is no YAML is one scalar.
const maxShown = 60

func (n node) describe() string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "nothing"
		}
		if len(n.Value) > maxShown {
			return strconv.Quote(n.Value[:maxShown]) + "..."
		}
		return strconv.Quote(n.Value)
	}
	return "something else"
}

// entry is one key of a mapping.
type entry struct {
	key   string
	at    Pos
	value node
}

// entries are the entries of a mapping. Keys that come twice are errors.
func (ps *problems) entries(n node) []entry {
	if n.Kind != yaml.MappingNode {
		ps.fail(n.pos(), "expected a mapping, found %s", n.describe())
		return nil
	}
	out := make([]entry, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := node{n.Content[i], n.file}, node{n.Content[i+1], n.file}
		if k.Kind != yaml.ScalarNode || k.Value == "" || k.Tag == "!!merge" {
			ps.fail(k.pos(), "expected a name, found %s", k.describe())
			continue
		}
		for j := range out {
			if out[j].key == k.Value {
				ps.fail(k.pos(), "%q is there twice, first on line %d", k.Value, out[j].at.Line)
			}
		}
		out = append(out, entry{k.Value, k.pos(), v})
	}
	return out
}

// list are the elements of a list.
func (ps *problems) list(n node) []node {
	if n.Kind != yaml.SequenceNode {
		ps.fail(n.pos(), "expected a list, found %s", n.describe())
		return nil
	}
	out := make([]node, len(n.Content))
	for i, c := range n.Content {
		out[i] = node{c, n.file}
	}
	return out
}

// text is a string, which may be empty.
func (ps *problems) text(n node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		ps.fail(n.pos(), "expected a string, found %s; put it between quotes if it is one", n.describe())
		return "", false
	}
	return n.Value, true
}

// scalar is a string or a number as it is written.
func (ps *problems) scalar(n node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		ps.fail(n.pos(), "expected a string, found %s", n.describe())
		return ""
	}
	return n.Value
}

// unknown refuses an entry that is not understood.
func (ps *problems) unknown(e entry, where, expected string) {
	ps.fail(e.at, "%s: expected one of %s, found %q", where, expected, e.key)
}
