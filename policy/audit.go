package policy

import "strings"

// AuditEvent is a decision that somebody logged.
type AuditEvent struct {
	Query
	Granted    bool `json:"granted"`    // an auditallow message; else a denial
	Permissive bool `json:"permissive"` // the denial was not enforced
}

// ParseAudit reads one line of a log as a question: an access vector message
// of the kernel or of a program, as in audit.log, dmesg, the output of
// ausearch --raw, or a log of our own:
//
//	… avc:  denied  { read write } for  pid=8 comm="web" … scontext=… tcontext=… tclass=kv_item permissive=0 …
//
// It is false for any other line. Fields are separated by blanks, which
// loggers never leave in a value that a stranger can choose; of a field that
// is there twice the last counts, since strangers' values come first.
func ParseAudit(line string) (AuditEvent, bool) {
	var e AuditEvent
	_, rest, ok := strings.Cut(line, "avc:")
	if !ok {
		return e, false
	}
	rest = strings.TrimLeft(rest, " ")
	if after, ok := strings.CutPrefix(rest, "granted"); ok {
		e.Granted, rest = true, after
	} else if rest, ok = strings.CutPrefix(rest, "denied"); !ok {
		return e, false
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " "), "{")
	if !ok {
		return e, false
	}
	perms, rest, ok := strings.Cut(rest, "}")
	if !ok {
		return e, false
	}
	e.Perms = strings.Fields(perms)
	for field := range strings.FieldsSeq(rest) {
		name, value, _ := strings.Cut(strings.TrimRight(field, "'"), "=")
		switch name {
		case "scontext":
			e.Source = value
		case "tcontext":
			e.Target = value
		case "tclass":
			e.Class = value
		case "permissive":
			e.Permissive = value == "1"
		}
	}
	return e, e.Source != "" && e.Target != "" && e.Class != "" && len(e.Perms) > 0
}
