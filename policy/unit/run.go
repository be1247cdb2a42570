package unit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sememcached/policy"
)

// Labeller says which label a server would give to a new item: t is a label
// test. An error means that there is no label.
type Labeller func(t *Test) (string, error)

// Result is what became of a Test.
type Result struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Name     string `json:"name"` // the test without variables
	OK       bool   `json:"ok"`
	Expected string `json:"expected,omitempty"` // where it is not OK
	Found    string `json:"found,omitempty"`
	// Explanation has the policy's reasons for what was found, where there
	// are any.
	Explanation string `json:"explanation,omitempty"`
}

// Run asks p all tests of s, in order. A boolean that the policy does not have
// is an error with file and line. step, if there is one, is called before each.
func (s *Suite) Run(p *policy.Policy, label Labeller, step func(done int)) ([]Result, error) {
	out := make([]Result, 0, len(s.Tests))
	with, set := p, map[string]bool(nil)
	for i := range s.Tests {
		t := &s.Tests[i]
		if step != nil {
			step(i)
		}
		if !maps.Equal(set, t.Booleans) {
			var err error
			if with, err = p.WithBooleans(t.Booleans); err != nil {
				return nil, fmt.Errorf("%s:%d: %s", s.File, t.Line, bad(err))
			}
			set = t.Booleans
		}
		r := t.run(with, label)
		r.File, r.Line, r.Name = s.File, t.Line, t.String()
		r.OK = r.Found == ""
		if r.OK {
			r.Expected, r.Explanation = "", ""
		}
		out = append(out, r)
	}
	return out, nil
}

// run leaves Found empty where all is as expected.
func (t *Test) run(p *policy.Policy, label Labeller) Result {
	switch t.Kind {
	case "valid", "invalid":
		return t.runValid(p)
	case "label":
		got, err := label(t)
		return t.sameContext(p, got, err)
	case "transition":
		return t.runTransition(p)
	}
	return t.runAccess(p)
}

func bad(err error) string { return strings.TrimPrefix(err.Error(), "policy: ") }

func (t *Test) runValid(p *policy.Policy) Result {
	_, err := p.ParseContext(t.Source)
	r := Result{Expected: "a context that is " + t.Kind}
	switch {
	case t.Kind == "valid" && err != nil:
		r.Found = bad(err)
	case t.Kind == "invalid" && err == nil:
		r.Found = "a valid context"
	}
	return r
}

// sameContext compares in canonical form; what is expected must be valid, too.
func (t *Test) sameContext(p *policy.Policy, got string, err error) Result {
	r := Result{Expected: t.Want}
	want, wantErr := p.CanonicalContext(t.Want)
	switch {
	case wantErr != nil:
		r.Found = "an expectation that cannot be met: " + bad(wantErr)
	case err != nil:
		r.Found = bad(err)
	case got != want:
		r.Found = got
	}
	return r
}

func (t *Test) runTransition(p *policy.Policy) Result {
	var cs [2]policy.Context
	for i, s := range []string{t.Source, t.Target} {
		var err error
		if cs[i], err = p.ParseContext(s); err != nil {
			return Result{Expected: t.Want, Found: bad(err)}
		}
	}
	c, ok := p.Class(t.Class)
	if !ok {
		return Result{Expected: t.Want, Found: "the policy has no class " + t.Class}
	}
	e := p.ExplainCreate(cs[0], cs[1], c, t.Key)
	var err error
	if e.Error != "" {
		err = errors.New(e.Error)
	}
	r := t.sameContext(p, e.Context, err)
	r.Explanation = e.String()
	return r
}

func (t *Test) runAccess(p *policy.Policy) Result {
	q := policy.Query{Source: t.Source, Target: t.Target, Class: t.Class, Perms: t.Perms}
	e := p.ExplainQuery(q)
	r := Result{Explanation: e.String()}
	switch t.Kind {
	case "explain-contains":
		r.Expected = fmt.Sprintf("an explanation that contains %q", t.Want)
		if !strings.Contains(r.Explanation, t.Want) {
			r.Found = "one that does not"
		}
		return r
	case "allow":
		r.Expected = "allowed: " + permSet(t.Perms)
	case "deny":
		r.Expected = "denied: " + permSet(t.Perms)
	case "dontaudit":
		r.Expected = "denied and not logged: " + permSet(t.Perms)
	}
	if e.Failed || slices.ContainsFunc(e.Reasons, func(r policy.Reason) bool {
		return r.Kind == policy.KindUnknownClass || r.Kind == policy.KindUnknownPermission
	}) {
		r.Found = "a question that makes no sense to this policy"
		return r
	}
	o := p.Outcome(q)
	var wrong []string
	for _, perm := range t.Perms {
		allowed, silent := slices.Contains(o.Allowed, perm), slices.Contains(o.Silent, perm)
		switch {
		case t.Kind == "allow" && !allowed:
			wrong = append(wrong, "denied "+perm)
		case t.Kind != "allow" && allowed:
			wrong = append(wrong, "allowed "+perm)
		case t.Kind == "dontaudit" && !silent:
			wrong = append(wrong, "logged "+perm)
		}
	}
	r.Found = strings.Join(wrong, ", ")
	return r
}
