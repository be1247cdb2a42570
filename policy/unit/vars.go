package unit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// variable is a list of rows; one of let has the single column "".
type variable struct {
	name    string
	columns []string
	rows    [][]string
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !nameByte(c) || i == 0 && c >= '0' && c <= '9' {
			return false
		}
	}
	return s != ""
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *parser) let(w []string) error {
	if len(w) < 4 || w[2] != "=" || !isName(w[1]) {
		return fmt.Errorf("expected let NAME = VALUE..., found %q", strings.Join(w, " "))
	}
	v := &variable{name: w[1], columns: []string{""}}
	for _, value := range w[3:] {
		values, err := p.substitute([]string{value})
		if err != nil {
			return err
		}
		v.rows = append(v.rows, values...)
	}
	p.vars[v.name] = v
	return nil
}

func (p *parser) openTable(w []string) error {
	if len(w) < 3 || !isName(w[1]) {
		return fmt.Errorf("expected table NAME COLUMN..., found %q", strings.Join(w, " "))
	}
	for i, c := range w[2:] {
		if !isName(c) || slices.Contains(w[2:2+i], c) {
			return fmt.Errorf("expected column names, each once, found %q", c)
		}
	}
	p.table, p.tableLine = &variable{name: w[1], columns: w[2:]}, p.line
	return nil
}

func (p *parser) row(w []string) error {
	if len(w) == 1 && w[0] == "end" {
		if len(p.table.rows) == 0 {
			return fmt.Errorf("expected rows in table %s, found none", p.table.name)
		}
		p.vars[p.table.name], p.table = p.table, nil
		return nil
	}
	if len(w) != len(p.table.columns) {
		return fmt.Errorf("expected %d fields in a row of table %s, found %d", len(p.table.columns), p.table.name, len(w))
	}
	rows, err := p.substitute(w)
	if err != nil {
		return err
	}
	p.table.rows = append(p.table.rows, rows...)
	return nil
}

// use is a variable in a line, with the row that it stands for now.
type use struct {
	v     *variable
	other bool // the row of $!, never that of $
	row   int
}

// piece is a part of a word: text, or a field of a use.
type piece struct {
	text   string
	use    int // index into uses, or -1
	column int
}

// substitute puts variables into words: one result for each combination of
// the rows that they use, the last variable fastest.
func (p *parser) substitute(w []string) ([][]string, error) {
	var uses []*use
	pieces := make([][]piece, len(w))
	for i, word := range w {
		var err error
		if pieces[i], uses, err = p.pieces(word, uses); err != nil {
			return nil, err
		}
	}
	total := 1
	for _, u := range uses {
		if total *= len(u.v.rows); total > MaxTests {
			return nil, fmt.Errorf("expected at most %d combinations of variables in a line", MaxTests)
		}
		if u.other && !slices.ContainsFunc(uses, func(o *use) bool { return !o.other && o.v == u.v }) {
			return nil, fmt.Errorf("expected $%s in the line beside $!%s", u.v.name, u.v.name)
		}
	}
	var out [][]string
	var choose func(i int)
	choose = func(i int) {
		if i < len(uses) {
			for uses[i].row = range uses[i].v.rows {
				choose(i + 1)
			}
			return
		}
		if line, ok := assemble(pieces, uses); ok {
			out = append(out, line)
		}
	}
	choose(0)
	if len(out) == 0 {
		return nil, errors.New("expected a table of at least two rows for $!, found no combination")
	}
	return out, nil
}

// assemble puts the chosen rows into words. It is false where a $! has chosen
// the row of its $.
func assemble(pieces [][]piece, uses []*use) ([]string, bool) {
	for _, u := range uses {
		if u.other && slices.ContainsFunc(uses, func(o *use) bool { return !o.other && o.v == u.v && o.row == u.row }) {
			return nil, false
		}
	}
	line := make([]string, len(pieces))
	for k, ps := range pieces {
		for _, pc := range ps {
			if pc.use < 0 {
				line[k] += pc.text
			} else {
				line[k] += uses[pc.use].v.rows[uses[pc.use].row][pc.column]
			}
		}
	}
	return line, true
}

// pieces takes a word apart.
func (p *parser) pieces(word string, uses []*use) ([]piece, []*use, error) {
	var out []piece
	for word != "" {
		i := strings.IndexByte(word, '$')
		if i < 0 {
			return append(out, piece{text: word, use: -1}), uses, nil
		}
		if i > 0 {
			out = append(out, piece{text: word[:i], use: -1})
		}
		word = word[i+1:]
		if strings.HasPrefix(word, "$") {
			out, word = append(out, piece{text: "$", use: -1}), word[1:]
			continue
		}
		ref, rest, err := reference(word)
		if err != nil {
			return nil, nil, err
		}
		word = rest
		name, other := strings.CutPrefix(ref, "!")
		name, column, _ := strings.Cut(name, ".")
		v, ok := p.vars[name]
		if !ok {
			return nil, nil, fmt.Errorf("expected a variable that is defined before, found $%s", ref)
		}
		k := slices.Index(v.columns, column)
		if k < 0 {
			return nil, nil, fmt.Errorf("expected a column of %s (%s), found $%s", name, strings.Join(v.columns, " "), ref)
		}
		n := slices.IndexFunc(uses, func(u *use) bool { return u.v == v && u.other == other })
		if n < 0 {
			n = len(uses)
			uses = append(uses, &use{v: v, other: other})
		}
		out = append(out, piece{use: n, column: k})
	}
	return out, uses, nil
}

// reference reads what follows a dollar sign: NAME, NAME.COLUMN, either after !,
// or any of them in braces. A dot that no name follows is text.
func reference(s string) (ref, rest string, err error) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		ref, rest, ok = strings.Cut(inner, "}")
		if !ok {
			return "", "", fmt.Errorf("expected } after ${, found %q", s)
		}
		return ref, rest, nil
	}
	n := 0
	if strings.HasPrefix(s, "!") {
		n = 1
	}
	start := n
	for n < len(s) && nameByte(s[n]) {
		n++
	}
	if n == start {
		return "", "", fmt.Errorf("expected a name after $ ($$ is a dollar sign), found %q", s)
	}
	if n+1 < len(s) && s[n] == '.' && nameByte(s[n+1]) {
		for n++; n < len(s) && nameByte(s[n]); n++ {
		}
	}
	return s[:n], s[n:], nil
}
