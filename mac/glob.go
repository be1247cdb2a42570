package mac

import "fmt"

// glob is a compiled pattern of the contexts file: * is any run of bytes, the
// empty one included, ? is any one byte, \ takes the next byte as it is. There
// are no brackets and no special bytes: * crosses / and . as in selabel_db(5).
//
// Each element is a byte, or one of the two above a byte.
type glob []uint16

const (
	globAny  = 0x100 // ?
	globStar = 0x200 // *
)

func compileGlob(s string) (glob, error) {
	g := make(glob, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '*':
			if n := len(g); n == 0 || g[n-1] != globStar {
				g = append(g, globStar)
			}
		case '?':
			g = append(g, globAny)
		case '\\':
			i++
			if i == len(s) {
				return nil, fmt.Errorf("expected a character after the \\ that ends pattern %q", s)
			}
			g = append(g, uint16(s[i]))
		default:
			g = append(g, uint16(s[i]))
		}
	}
	return g, nil
}

// match reports whether g matches the whole of s, without allocating. Only the last star is ever
// moved, as it can make up for whatever an earlier one took; so the time is at
// most len(g) times len(s), whatever the pattern.
func match[T string | []byte](g glob, s T) bool {
	i, j := 0, 0          // in g and s
	star, resume := -1, 0 // the last star, and where it stops swallowing
	for j < len(s) {
		switch {
		case i < len(g) && g[i] == globStar:
			star, resume = i, j
			i++
		case i < len(g) && (g[i] == globAny || g[i] == uint16(s[j])):
			i++
			j++
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(g) && g[i] == globStar {
		i++
	}
	return i == len(g)
}
