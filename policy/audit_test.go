package policy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sememcached/policy"
)

func TestParseAudit(t *testing.T) {
	q := policy.Query{Source: "u_u:a_r:a_t:s0-s0:c0.c3", Target: "u_u:object_r:b_t:s0:c1,c3", Class: "kv_item", Perms: []string{"read", "write"}}
	fields := "scontext=u_u:a_r:a_t:s0-s0:c0.c3 tcontext=u_u:object_r:b_t:s0:c1,c3 tclass=kv_item"
	denied := policy.AuditEvent{Query: q}
	for line, want := range map[string]policy.AuditEvent{
		`type=AVC msg=audit(1700000000.123:456): avc:  denied  { read write } for  pid=812 comm="web" ` + fields + ` permissive=0`:                                    denied,
		`type=AVC msg=audit(1700000000.123:456): avc:  denied  { read write } for  pid=812 comm="web" ` + fields + ` permissive=1`:                                    {Query: q, Permissive: true},
		`[   12.345678] audit: type=1400 audit(1700000000.123:5): avc:  granted  { read write } for  pid=1 ` + fields:                                                 {Query: q, Granted: true},
		`type=USER_AVC msg=audit(1700000000.123:7): pid=1 uid=0 subj=x msg='avc:  denied  { read write } for  ` + fields + `'`:                                        denied,
		`type=USER_AVC msg=audit(1700000000.123:7): pid=1 uid=0 subj=x msg='avc:  denied  { read write } for  ` + fields + ` permissive=0  exe="/usr/bin/x" sauid=0'`: denied,
		`avc:  denied  { read write } for  pid=812 comm="web" laddr=127.0.0.1 key="scontext=forged:tclass=x" ` + fields + ` permissive=0`:                             denied,
		`avc:  denied  { read write } for  key=scontext=forged tclass=forged ` + fields + ` permissive=0`:                                                             denied,
	} {
		if have, ok := policy.ParseAudit(line); !ok || !reflect.DeepEqual(have, want) {
			t.Errorf("%s:\nexpected %+v\nfound %+v, %v", line, want, have, ok)
		}
	}
	for _, line := range []string{
		"", "avc:", "avc:  denied", "avc:  denied  {", "avc:  denied  { read", "avc:  denied  { } for " + fields, "avc:  denied  read for " + fields,
		"avc:  op=load_policy lsm=selinux res=1", "avc:  denied  { read } for  scontext=a:b:c tcontext=a:b:c", "type=SYSCALL msg=audit(1.2:3): arch=c000003e " + fields,
	} {
		if e, ok := policy.ParseAudit(line); ok {
			t.Errorf("%q: expected no event, found %+v", line, e)
		}
	}
}

// TestReplay asks a policy what a log denied.
func TestReplay(t *testing.T) {
	log := ""
	for _, perm := range []string{"read", "append", "fly"} {
		log += fmt.Sprintf("avc:  denied  { %s } for  pid=1 scontext=u_u:a_r:a_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=0\n", perm)
	}
	log += "avc:  denied  { read } for  pid=1 scontext=u_u:a_r:gone_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=0\n"
	p := micro(t, "allow.v33")
	var have []string
	for line := range strings.Lines(log) {
		e, ok := policy.ParseAudit(line)
		if !ok {
			t.Fatalf("expected an event in %q", line)
		}
		have = append(have, p.Outcome(e.Query).String())
	}
	want := []string{"read", "nothing", "nothing", `error: context "u_u:a_r:gone_t:s0": undefined name in context: expected a type, found "gone_t"`}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("expected %q, found %q", want, have)
	}
}

func FuzzParseAudit(f *testing.F) {
	f.Add(`avc:  denied  { read write } for  pid=812 comm="web" scontext=a:b:c tcontext=a:b:c tclass=kv_item permissive=0`)
	f.Add(`msg='avc:  granted  { x } for scontext=a tcontext=b tclass=c'`)
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := policy.ParseAudit(line)
		if ok && (e.Source == "" || e.Target == "" || e.Class == "" || len(e.Perms) == 0) {
			t.Fatalf("%q: found half an event, %+v", line, e)
		}
	})
}
