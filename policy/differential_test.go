package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
)

// question is one line for libsepol and our own answer to it.
type question struct{ ask, answer string }

// compare asks libsepol all questions and reports the first differences.
// libsepol looks up contexts in a list, so a run gets few of them; a later run
// is first told the booleans of those before.
func compare(t *testing.T, b []byte, qs []question) {
	t.Helper()
	const batch = 3000
	var bools []question
	bad := 0
	for len(qs) > 0 {
		n := min(batch, len(qs))
		list := append(slices.Clone(bools), qs[:n]...)
		asks := make([]string, len(list))
		for i, q := range list {
			asks[i] = q.ask
			if i >= len(bools) && strings.HasPrefix(q.ask, "bool ") {
				bools = append(bools, q)
			}
		}
		for i, a := range oracle(t, b, asks) {
			if a != list[i].answer {
				if bad++; bad <= 10 {
					t.Errorf("%s\nlibsepol: %s\n    ours: %s", list[i].ask, a, list[i].answer)
				}
			}
		}
		qs = qs[n:]
	}
	if bad > 10 {
		t.Errorf("and %d more differences", bad-10)
	}
}

func askAV(p *policy.Policy, s, o policy.Context, c policy.Class) question {
	d := p.ComputeAV(s, o, c)
	return question{
		fmt.Sprintf("av %s %s %s", s, o, p.ClassName(c)),
		fmt.Sprintf("%x %x %x", d.Allowed, d.AuditAllow, d.AuditDeny),
	}
}

func contextOrError(c policy.Context, err error) string {
	if err != nil {
		return "error"
	}
	return c.String()
}

// askSIDs asks for all three kinds of new contexts. libsepol knows no sockets.
func askSIDs(p *policy.Policy, s, o policy.Context, c policy.Class) []question {
	if p.KernelSocketForTest(c) {
		return nil
	}
	args := fmt.Sprintf("%s %s %s", s, o, p.ClassName(c))
	return []question{
		{"create " + args, contextOrError(p.ComputeCreate(s, o, c, ""))},
		{"member " + args, contextOrError(p.ComputeMember(s, o, c))},
		{"change " + args, contextOrError(p.ComputeRelabel(s, o, c))},
	}
}

func askValidateTrans(p *policy.Policy, old, new, task policy.Context, c policy.Class) question {
	q := question{fmt.Sprintf("validatetrans %s %s %s %s", old, new, task, p.ClassName(c)), "0"}
	if p.ValidateTrans(old, new, task, c) {
		q.answer = "1"
	}
	return q
}

// TestMicroAgainstSepol asks both every combination of contexts and classes of
// every micro policy, or a sample where there are many.
func TestMicroAgainstSepol(t *testing.T) {
	const most = 460 // pairs of contexts
	total, vectors := 0, 0
	for _, name := range microFiles(t) {
		t.Run(name, func(t *testing.T) {
			b := microBytes(t, name)
			p, err := policy.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			qs := microQuestions(t, p, most)
			total += len(qs)
			for _, q := range qs {
				if strings.HasPrefix(q.ask, "av ") {
					vectors++
				}
			}
			compare(t, b, qs)
		})
	}
	t.Logf("%d questions, %d of them about access vectors", total, vectors)
	if !t.Failed() && (total < 500_000 || vectors < 200_000) {
		t.Errorf("expected at least 500,000 questions, 200,000 of them about access vectors, found %d and %d", total, vectors)
	}
}

func microQuestions(t *testing.T, p *policy.Policy, most int) []question {
	r := seeded(t, 1)
	var qs []question
	cs := contexts(p, r, 14)
	var pairs [][2]policy.Context
	for _, s := range cs {
		for _, o := range cs {
			pairs = append(pairs, [2]policy.Context{s, o})
		}
	}
	if len(pairs) > most {
		r.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		pairs = pairs[:most]
	}
	for _, name := range p.Classes() {
		c := mustClass(t, p, name)
		for _, pair := range pairs {
			// libsepol 3.4 writes through a null pointer where bounds of
			// bounds take something away; see testdata/decide/bounds.txt.
			if p.BoundsDepthForTest(pair[0]) < 2 {
				qs = append(qs, askAV(p, pair[0], pair[1], c))
			}
			qs = append(qs, askSIDs(p, pair[0], pair[1], c)...)
			qs = append(qs, askValidateTrans(p, pair[0], pair[1], pick(r, cs), c))
		}
	}
	for _, rng := range ranges(p, r, 60) {
		s := pick(r, p.Users()) + ":" + pick(r, p.Roles()) + ":" + pick(r, p.Types()) + rng
		qs = append(qs, question{"context " + s, contextOrError(p.ParseContext(s))})
	}
	return qs
}
