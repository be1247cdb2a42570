package mac

import (
	"net/netip"
	"strconv"
	"time"

	"sememcached/avc"
)

// One line of the log, as auditd would write it and as audit2allow(1) reads it:
//
//	type=USER_AVC msg=audit(1700000000.123:42): avc:  denied  { read } for  pid=812
//	comm="web" laddr=127.0.0.1 lport=11211 faddr=127.0.0.1 fport=40312 key="user:1"
//	cmd="get" scontext=… tcontext=… tclass=kv_item permissive=0
//
// (without the line breaks). Readers split it at blanks, so no field contains
// one; whatever comes from outside is encoded as the audit subsystem does.

const upperHex = "0123456789ABCDEF"

// appendHeader appends what auditd puts before a record.
func appendHeader(dst []byte, t auditType, at time.Time, serial uint64) []byte {
	dst = append(dst, "type="...)
	dst = append(dst, t.String()...)
	dst = append(dst, " msg=audit("...)
	dst = strconv.AppendInt(dst, at.Unix(), 10)
	ms := at.Nanosecond() / 1e6
	dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), ':')
	dst = strconv.AppendUint(dst, serial, 10)
	return append(dst, "): "...)
}

// appendUntrusted appends bytes from outside: quoted, or, if any of them is a
// quote, a blank or not printable, as bare upper-case hex. The two cannot be
// confused, as hex has no quotes. (audit_log_untrustedstring of the kernel,
// audit_value_needs_encoding of audit-userspace.)
func appendUntrusted[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '"' || c < 0x21 || c > 0x7e {
			for j := 0; j < len(s); j++ {
				dst = append(dst, upperHex[s[j]>>4], upperHex[s[j]&15])
			}
			return dst
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendContext appends a security context, which is never quoted. Whatever
// could end the field or begin another one is hex; there is none in a context
// that any policy knows.
func appendContext(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '?')
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '"' || c == '=' || c < 0x21 || c > 0x7e {
			for j := 0; j < len(s); j++ {
				dst = append(dst, upperHex[s[j]>>4], upperHex[s[j]&15])
			}
			return dst
		}
	}
	return append(dst, s...)
}

// appendRecord appends the text of r. comm finds the name of a process.
func appendRecord(dst []byte, r *Record, comm func(int32) string) []byte {
	if r.Granted {
		dst = append(dst, "avc:  granted  {"...)
	} else {
		dst = append(dst, "avc:  denied  {"...)
	}
	dst = appendPerms(dst, r.Class, r.Perms)
	dst = append(dst, " } for "...)
	dst = appendPeer(dst, r.Peer, comm)
	if r.NKey > 0 {
		dst = append(dst, " key="...)
		dst = appendUntrusted(dst, r.Key[:min(int(r.NKey), len(r.Key))])
	}
	if r.Command != "" {
		dst = append(dst, " cmd="...)
		dst = appendUntrusted(dst, r.Command)
	}
	dst = append(dst, " scontext="...)
	dst = appendContext(dst, r.Scontext)
	dst = append(dst, " tcontext="...)
	dst = appendContext(dst, r.Tcontext)
	dst = append(dst, " tclass="...)
	dst = append(dst, r.Class.String()...)
	switch {
	case r.Granted:
	case r.Permissive:
		dst = append(dst, " permissive=1"...)
	default:
		dst = append(dst, " permissive=0"...)
	}
	return dst
}

func appendPerms(dst []byte, c avc.Class, p avc.Perms) []byte {
	for i, n := range c.Names() {
		if p&(1<<i) != 0 {
			dst = append(append(dst, ' '), n...)
		}
	}
	if rest := p &^ c.All(); rest != 0 {
		dst = append(dst, " 0x"...)
		dst = strconv.AppendUint(dst, uint64(rest), 16)
	}
	return dst
}

func appendPeer(dst []byte, p *Peer, comm func(int32) string) []byte {
	if p == nil {
		return dst
	}
	if p.HasCred && p.PID > 0 {
		dst = append(dst, " pid="...)
		dst = strconv.AppendInt(dst, int64(p.PID), 10)
		if name := comm(p.PID); name != "" {
			dst = append(dst, " comm="...)
			dst = appendUntrusted(dst, name)
		}
	}
	if p.HasCred {
		dst = append(dst, " uid="...)
		dst = strconv.AppendUint(dst, uint64(p.UID), 10)
	}
	if p.Path != "" {
		dst = append(dst, " path="...)
		dst = appendUntrusted(dst, p.Path)
	}
	dst = appendAddr(dst, p.Local, " laddr=", " lport=")
	return appendAddr(dst, p.Addr, " faddr=", " fport=")
}

func appendAddr(dst []byte, a netip.AddrPort, addr, port string) []byte {
	if !a.IsValid() {
		return dst
	}
	dst = append(dst, addr...)
	dst = a.Addr().Unmap().WithZone("").AppendTo(dst)
	dst = append(dst, port...)
	return strconv.AppendUint(dst, uint64(a.Port()), 10)
}
