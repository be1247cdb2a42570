package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// String is the explanation for people: the answer on the first line, then a
// numbered reason after the other.
func (e Explanation) String() string {
	var b strings.Builder
	switch {
	case e.Failed:
		b.WriteString("error: ")
	case e.Allowed:
		b.WriteString("allowed: ")
	case e.Permissive:
		b.WriteString("denied, not enforced: ")
	default:
		b.WriteString("denied: ")
	}
	b.WriteString(e.Query.String() + "\n")
	if !e.Allowed && !e.Failed && len(e.Denied) < len(e.Perms) {
		fmt.Fprintf(&b, "of these denied: %s\n", permSet(e.Denied))
	}
	writeReasons(&b, e.Reasons, "")
	return b.String()
}

func writeReasons(b *strings.Builder, rs []Reason, indent string) {
	for i := range rs {
		r := &rs[i]
		head := fmt.Sprintf("%s%d. ", indent, i+1)
		pad := indent + strings.Repeat(" ", len(head)-len(indent))
		b.WriteString(head + r.Text)
		if len(r.Perms) > 0 && r.Kind != KindConstraint && r.Kind != KindMissingRule && r.Kind != KindConditional && r.Kind != KindUnknownPermission {
			b.WriteString(" (" + strings.Join(r.Perms, " ") + ")")
		}
		b.WriteByte('\n')
		if r.CIL != "" {
			word := "rule"
			if r.Add {
				word = "add"
			}
			fmt.Fprintf(b, "%s%s: %s\n", pad, word, r.CIL)
		}
		if r.Expression != "" {
			fmt.Fprintf(b, "%sexpression: %s\n%shere: %s\n", pad, r.Expression, pad, r.Values)
		}
		for _, n := range r.Near {
			what := n.Rule
			if what == "" {
				what = "it would hold"
			}
			fmt.Fprintf(b, "%snearly: %s, if %s had attribute %s, as %s: %s\n", pad, what, n.Type, n.Attribute, haveTypes(n.Types), n.CIL)
		}
		for _, s := range r.Booleans {
			fmt.Fprintf(b, "%sset: %s\n", pad, settingString(s))
		}
		writeReasons(b, r.Parent, pad)
	}
}

// haveTypes counts types in words.
func haveTypes(n int) string {
	switch n {
	case 0:
		return "no type has"
	case 1:
		return "one type has"
	}
	return fmt.Sprintf("%d types have", n)
}

// settingString writes booleans as the command line takes them.
func settingString(s map[string]bool) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		value := "off"
		if s[name] {
			value = "on"
		}
		out = append(out, name+"="+value)
	}
	return strings.Join(out, " ")
}
