package policy

import (
	"fmt"
	"slices"
)

// The lists below are sorted by name, hold each name once, and are the
// caller's.

// Users lists the SELinux users.
func (p *Policy) Users() []string {
	return names(p.userByValue, func(u *user) (string, bool) { return u.name, true })
}

// Roles lists the roles, object_r among them.
func (p *Policy) Roles() []string {
	return names(p.roleByValue, func(r *role) (string, bool) { return r.name, true })
}

// Types lists the types, without aliases and attributes.
func (p *Policy) Types() []string {
	return names(p.typeByValue, func(t *typ) (string, bool) { return t.name, !t.attribute() })
}

// Attributes lists the type attributes.
func (p *Policy) Attributes() []string {
	return names(p.typeByValue, func(t *typ) (string, bool) { return t.name, t.attribute() })
}

// Classes lists the object classes.
func (p *Policy) Classes() []string {
	return names(p.classByValue, func(c *class) (string, bool) { return c.name, true })
}

// Sensitivities lists the sensitivities, without aliases.
func (p *Policy) Sensitivities() []string {
	return names(p.sensByValue, func(s *sensitivity) (string, bool) { return s.name, true })
}

// Categories lists the categories, without aliases.
func (p *Policy) Categories() []string {
	return names(p.catByValue, func(c *category) (string, bool) { return c.name, true })
}

// AttributesOf lists the attributes of a type, which may be named by an alias.
func (p *Policy) AttributesOf(typeName string) ([]string, error) {
	v, ok := p.typeNames[typeName]
	if !ok {
		return nil, fmt.Errorf("policy: expected the name of a type, found %q", typeName)
	}
	var out []string
	for _, a := range p.attrs[v] {
		if t := p.typeByValue[a]; t.attribute() {
			out = append(out, t.name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// TypesOf lists the types that have an attribute; a type stands for itself.
func (p *Policy) TypesOf(name string) ([]string, error) {
	v, ok := p.typeNames[name]
	if !ok {
		return nil, fmt.Errorf("policy: expected the name of a type or attribute, found %q", name)
	}
	var out []string
	for i, t := range p.typeByValue {
		if t != nil && !t.attribute() && slices.Contains(p.attrs[i], uint16(v)) {
			out = append(out, t.name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func names[T any](byValue []*T, name func(*T) (string, bool)) []string {
	var out []string
	for _, e := range byValue {
		if e != nil {
			if n, ok := name(e); ok {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}
