//go:build vm && linux

package vmtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"sememcached/policy"
)

// debianQuestions is how many are asked about Debian's policy.
const debianQuestions = 20_000

// question is one about a policy, with our engine's answers. It is a line of a
// file between the host and the guest:
//
//	SOURCE TARGET CLASS ALL ALLOWED AUDITALLOW AUDITDENY FLAGS RULED LABEL
//
// The vectors are hexadecimal and masked by ALL, the class's permissions. RULED
// says that the label of a new object comes from a rule and not from where it is
// made.
type question struct {
	source, target, class string
	all                   uint32
	vector                [4]uint32 // allowed, auditallow, auditdeny, flags
	ruled                 bool
	label                 string // of a new object, or invalidLabel
}

// invalidLabel is a label that the policy does not allow.
const invalidLabel = "-"

func (q *question) String() string {
	return fmt.Sprintf("%s %s %s %x %x %x %x %x %t %s", q.source, q.target, q.class, q.all, q.vector[0], q.vector[1], q.vector[2], q.vector[3], q.ruled, q.label)
}

func parseQuestion(line string) (q question, err error) {
	f := strings.Fields(line)
	if len(f) != 10 {
		return q, fmt.Errorf("expected ten fields, found %q", line)
	}
	q = question{source: f[0], target: f[1], class: f[2], ruled: f[8] == "true", label: f[9]}
	err = hexadecimal(f[3:8], &q.all, &q.vector[0], &q.vector[1], &q.vector[2], &q.vector[3])
	return q, err
}

// hexadecimal reads numbers. (Sscanf takes longer than the kernel.)
func hexadecimal(fields []string, to ...*uint32) error {
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 16, 32)
		if err != nil {
			return err
		}
		*to[i] = uint32(n)
	}
	return nil
}

// askAccess is the kernel's answer. Bits beyond the class's permissions mean
// nothing.
func (q *question) askAccess(class int) (v [4]uint32, err error) {
	reply, err := ask("access", fmt.Sprintf("%s %s %d", q.source, q.target, class))
	if err != nil {
		return v, err
	}
	f := strings.Fields(reply)
	if len(f) != 6 {
		return v, fmt.Errorf("expected six fields, found %q", reply)
	}
	var decided, seqno uint32 // the sequence number is decimal, and not looked at
	if err := hexadecimal(f, &v[0], &decided, &v[1], &v[2], &seqno, &v[3]); err != nil {
		return v, err
	}
	for i := range 3 {
		v[i] &= q.all
	}
	return v, nil
}

// draw picks questions about a policy that is too large to be asked whole.
type draw struct {
	p                *policy.Policy
	rnd              *rand.Rand
	types, classes   []string
	programs         []string            // types of programs
	domains          []string            // types of processes
	sources, targets map[string][]string // of a class: types that rules speak of
	byType           map[string]string   // contexts
}

func newDraw(p *policy.Policy, rnd *rand.Rand) *draw {
	d := &draw{
		p: p, rnd: rnd, types: p.Types(), classes: p.Classes(),
		sources: map[string][]string{}, targets: map[string][]string{}, byType: map[string]string{},
	}
	for _, t := range d.types {
		if strings.HasSuffix(t, "_exec_t") {
			d.programs = append(d.programs, t)
		}
	}
	if c, ok := p.Class("process"); ok {
		d.domains, _ = p.RuleTypes(c)
	}
	return d
}

func pick(rnd *rand.Rand, l []string) string { return l[rnd.IntN(len(l))] }

// context is one of a type, at some level that its user may have.
func (d *draw) context(typ string) string {
	c, ok := d.byType[typ]
	if !ok {
		full, err := d.p.ContextOfType(typ)
		if err != nil {
			panic(err) // of a type of the policy's own
		}
		c = full.String()
		d.byType[typ] = c
	}
	level := pick(d.rnd, []string{"s0", "s0:c1", "s0:c1,c9", "s0-s0:c0.c1023"})
	if s, err := d.p.CanonicalContext(strings.Join(strings.SplitN(c, ":", 4)[:3], ":") + ":" + level); err == nil {
		return s
	}
	return c
}

// uniform is any question at all: mostly one about which no rule says anything.
func (d *draw) uniform() *question {
	return d.answer(d.context(pick(d.rnd, d.types)), d.context(pick(d.rnd, d.types)), pick(d.rnd, d.classes))
}

// something is a question whose answer allows something.
func (d *draw) something() *question {
	for {
		class := pick(d.rnd, d.classes)
		if d.sources[class] == nil {
			c, _ := d.p.Class(class)
			d.sources[class], d.targets[class] = d.p.RuleTypes(c)
		}
		if len(d.sources[class]) == 0 {
			continue
		}
		q := d.answer(d.context(pick(d.rnd, d.sources[class])), d.context(pick(d.rnd, d.targets[class])), class)
		if q.vector[0] != 0 {
			return q
		}
	}
}

// Where many transitions are: who starts programs and what is one, and
// directories in which everybody makes files of types of their own.
var (
	starters = []string{"init_t", "initrc_t", "kernel_t", "sysadm_t", "unconfined_t", "staff_t", "user_t", "crond_t", "inetd_t"}
	shared   = []string{"tmp_t", "tmpfs_t", "var_run_t", "var_log_t", "var_lib_t", "var_spool_t", "etc_t", "device_t", "user_home_dir_t", "usr_t"}
	made     = []string{"file", "dir", "sock_file", "lnk_file"}
)

// made is a question whose new label a rule may well give.
func (d *draw) made() *question {
	if d.rnd.IntN(2) == 0 {
		return d.answer(d.context(pick(d.rnd, starters)), d.context(pick(d.rnd, d.programs)), "process")
	}
	return d.answer(d.context(pick(d.rnd, d.domains)), d.context(pick(d.rnd, shared)), pick(d.rnd, made))
}

// answer asks our engine.
func (d *draw) answer(source, target, class string) *question {
	s, err := d.p.ParseContext(source)
	if err != nil {
		panic(err) // the policy has made it
	}
	t, err := d.p.ParseContext(target)
	if err != nil {
		panic(err)
	}
	c, _ := d.p.Class(class)
	q := &question{source: source, target: target, class: class, all: uint32(d.p.Perms(c)), label: invalidLabel}
	v := d.p.ComputeAV(s, t, c)
	q.vector = [4]uint32{uint32(v.Allowed) & q.all, uint32(v.AuditAllow) & q.all, uint32(v.AuditDeny) & q.all, 0}
	if v.Permissive {
		q.vector[3] = 1
	}
	if n, err := d.p.ComputeCreate(s, t, c, ""); err == nil {
		q.label = n.String()
		e := strings.SplitN(q.label, ":", 4)[2]
		q.ruled = e != strings.SplitN(source, ":", 4)[2] && e != strings.SplitN(target, ":", 4)[2]
	}
	return q
}

// questions draws n questions, every other one with an answer that allows
// something, an eighth about what programs and files become, and makes lines of
// them.
func questions(b []byte, n int, seed uint64) ([]byte, error) {
	p, err := policy.Read(b)
	if err != nil {
		return nil, err
	}
	d := newDraw(p, rand.New(rand.NewPCG(seed, 1)))
	if len(d.types) < 3000 || len(d.classes) < 130 {
		return nil, fmt.Errorf("%d types and %d classes are not Debian's policy", len(d.types), len(d.classes))
	}
	var out []byte
	for i := range n {
		var q *question
		switch {
		case i%2 == 1:
			q = d.something()
		case i%8 == 0:
			q = d.made()
		default:
			q = d.uniform()
		}
		out = fmt.Appendln(out, q)
	}
	return out, nil
}
