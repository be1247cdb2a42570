package policy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/policy"
)

// TestDecide runs testdata/decide. The commands:
//
//	policy NAME [BOOL=on|off]...   micro policy for what follows
//	av                             a question a line: SOURCE TARGET CLASS
//	create|member|change           likewise; create takes an object name, too
//	validatetrans                  a question a line: OLD NEW TASK CLASS
//	label                          as create, with the steps
//	whynot                         as validatetrans, with the reasons
//	xperm                          a question a line: SOURCE TARGET CLASS NUMBER
//	names                          a class a line
//
// In a context, a missing user and role are u_u:a_r for the first of a line
// and u_u:object_r for the others, and a missing range is s0. The answer to av
// has what is allowed, and where there is something to say, what is logged
// when granted, what is silent when denied, and whether the domain is
// permissive.
func TestDecide(t *testing.T) {
	datadriven.Walk(t, "testdata/decide", func(t *testing.T, path string) {
		var p *policy.Policy
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "policy" {
				p = goldenPolicy(t, d)
				return ""
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				out.WriteString(golden(p, d.Cmd, strings.Fields(line)) + "\n")
			}
			return out.String()
		})
	})
}

func goldenPolicy(t *testing.T, d *datadriven.TestData) *policy.Policy {
	set := map[string]bool{}
	for _, a := range d.CmdArgs[1:] {
		set[a.Key] = a.Vals[0] == "on"
	}
	p, err := mustRead(t, microBytes(t, d.CmdArgs[0].Key)).WithBooleans(set)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return p
}

// golden answers one line.
func golden(p *policy.Policy, cmd string, words []string) string {
	contexts := 2
	if cmd == "validatetrans" || cmd == "whynot" {
		contexts = 3
	} else if cmd == "names" {
		contexts = 0
	}
	var cs []policy.Context
	for i, w := range words[:contexts] {
		if !strings.Contains(w, ":") {
			w += ":s0"
		}
		if n := strings.Index(w, "_t"); n >= 0 && !strings.Contains(w[:n], ":") {
			w = []string{"u_u:a_r:", "u_u:object_r:", "u_u:a_r:"}[i] + w
		}
		if !p.MLS() {
			w = strings.TrimSuffix(w, ":s0")
		}
		c, err := p.ParseContext(w)
		if err != nil {
			return err.Error()
		}
		cs = append(cs, c)
	}
	c, _ := p.Class(words[contexts])
	made := func(c policy.Context, err error) string {
		if err != nil {
			return err.Error()
		}
		return c.String()
	}
	switch cmd {
	case "av":
		return decisionText(p, c, p.ComputeAV(cs[0], cs[1], c))
	case "label":
		return strings.TrimSuffix(p.ExplainCreate(cs[0], cs[1], c, strings.Join(words[3:], " ")).String(), "\n")
	case "whynot":
		var out []string
		for _, r := range p.ExplainValidateTrans(cs[0], cs[1], cs[2], c) {
			out = append(out, r.Text+": "+r.Expression+"\n  "+r.Values)
		}
		if (out == nil) != p.ValidateTrans(cs[0], cs[1], cs[2], c) {
			return "reasons that do not fit the answer"
		}
		return strings.Join(append(out, "."), "\n")
	case "create":
		return made(p.ComputeCreate(cs[0], cs[1], c, strings.Join(words[3:], " ")))
	case "member":
		return made(p.ComputeMember(cs[0], cs[1], c))
	case "change":
		return made(p.ComputeRelabel(cs[0], cs[1], c))
	case "validatetrans":
		return fmt.Sprint(p.ValidateTrans(cs[0], cs[1], cs[2], c))
	case "xperm":
		n, err := strconv.ParseUint(words[3], 0, 16)
		if err != nil {
			return err.Error()
		}
		d := p.ComputeXperm(cs[0], cs[1], c, policy.XpermIoctl, uint16(n))
		return fmt.Sprintf("limited %t allowed %t logged %t silent %t", d.Limited, d.Allowed, d.AuditAllow, d.DontAudit)
	case "names":
		return fmt.Sprintf("%q", p.TransitionNames(c))
	}
	return "unknown command " + cmd
}

func decisionText(p *policy.Policy, c policy.Class, d policy.Decision) string {
	set := func(av policy.AV) string {
		switch av {
		case ^policy.AV(0):
			return "everything"
		case 0:
			return "nothing"
		}
		return "{ " + strings.Join(p.PermNames(c, av), " ") + " }"
	}
	s := "allowed " + set(d.Allowed)
	if d.AuditAllow != 0 {
		s += " logged " + set(d.AuditAllow)
	}
	if ^d.AuditDeny != 0 {
		s += " silent " + set(^d.AuditDeny)
	}
	if d.Permissive {
		s += " permissive"
	}
	return s
}
