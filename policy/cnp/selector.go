package cnp

import (
	"slices"
	"strings"
)

// namespaceLabel is the label by which a policy of a namespace selects the
// endpoints of its namespace only.
const namespaceLabel = "io.kubernetes.pod.namespace"

// labelKey is a label's key without the sources that mean "whatever the source":
// labels here have no other.
func labelKey(k string) string {
	k = strings.TrimPrefix(k, "any:")
	return strings.TrimPrefix(k, "k8s:")
}

// Labels are the labels of an endpoint.
type Labels map[string]string

// String is k=v,..., in order.
func (l Labels) String() string {
	var out []string
	for k, v := range l {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// ParseLabels reads k=v,k=v.
func ParseLabels(s string) (Labels, error) {
	l := Labels{}
	for _, pair := range strings.Split(s, ",") {
		k, v, ok := strings.Cut(pair, "=")
		k = labelKey(strings.TrimSpace(k))
		if !ok || k == "" {
			return nil, &badLabel{pair}
		}
		if _, twice := l[k]; twice {
			return nil, &badLabel{pair}
		}
		l[k] = strings.TrimSpace(v)
	}
	return l, nil
}

type badLabel struct{ pair string }

func (b *badLabel) Error() string {
	return "expected labels as key=value,key=value, each key once, found \"" + b.pair + "\""
}

// selector is a Kubernetes label selector: all of its requirements must hold.
type selector struct {
	at   Pos
	reqs []requirement
}

type requirement struct {
	key    string
	op     string // In, NotIn, Exists, DoesNotExist
	values []string
}

func (r *requirement) holds(l Labels) bool {
	v, has := l[r.key]
	switch r.op {
	case "In":
		return has && slices.Contains(r.values, v)
	case "NotIn":
		return !has || !slices.Contains(r.values, v)
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	}
	return false
}

func (s *selector) matches(l Labels) bool {
	for i := range s.reqs {
		if !s.reqs[i].holds(l) {
			return false
		}
	}
	return true
}

// String is the selector as kubectl takes it.
func (s *selector) String() string {
	var out []string
	for _, r := range s.reqs {
		switch r.op {
		case "Exists":
			out = append(out, r.key)
		case "DoesNotExist":
			out = append(out, "!"+r.key)
		case "In":
			if len(r.values) == 1 {
				out = append(out, r.key+"="+r.values[0])
				continue
			}
			out = append(out, r.key+" in ("+strings.Join(r.values, ",")+")")
		default:
			out = append(out, r.key+" notin ("+strings.Join(r.values, ",")+")")
		}
	}
	if len(out) == 0 {
		return "{}"
	}
	return strings.Join(out, ",")
}

// selector reads matchLabels and matchExpressions. A policy of a namespace adds
// the namespace to each selector that does not name one.
func (ps *problems) selector(n node, namespace string) selector {
	s := selector{at: n.pos()}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "matchLabels":
			for _, l := range ps.entries(e.value) {
				v := ps.scalar(l.value)
				if strings.HasPrefix(l.key, "reserved:") {
					ps.fail(l.at, "expected a label of an endpoint, found %q; use fromEntities", l.key)
				}
				s.reqs = append(s.reqs, requirement{labelKey(l.key), "In", []string{v}})
			}
		case "matchExpressions":
			for _, x := range ps.list(e.value) {
				s.reqs = append(s.reqs, ps.expression(x))
			}
		default:
			ps.unknown(e, "selector", "matchLabels, matchExpressions")
		}
	}
	if namespace != "" && !slices.ContainsFunc(s.reqs, func(r requirement) bool {
		return r.key == namespaceLabel || strings.HasPrefix(r.key, "io.cilium.k8s.namespace.labels.")
	}) {
		s.reqs = append(s.reqs, requirement{namespaceLabel, "In", []string{namespace}})
	}
	return s
}

func (ps *problems) expression(n node) requirement {
	var r requirement
	for _, e := range ps.entries(n) {
		switch e.key {
		case "key":
			r.key = labelKey(ps.scalar(e.value))
		case "operator":
			r.op = ps.scalar(e.value)
		case "values":
			for _, v := range ps.list(e.value) {
				r.values = append(r.values, ps.scalar(v))
			}
		default:
			ps.unknown(e, "matchExpressions", "key, operator, values")
		}
	}
	needs := false
	switch r.op {
	case "In", "NotIn":
		needs = true
	case "Exists", "DoesNotExist":
	default:
		ps.fail(n.pos(), "expected operator In, NotIn, Exists or DoesNotExist, found %q", r.op)
	}
	if r.key == "" || needs != (len(r.values) > 0) {
		ps.fail(n.pos(), "expected a key, and values for In and NotIn only")
	}
	return r
}
