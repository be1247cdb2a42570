package mac

// AuditLogin records that a client gave a user name and a password and was not
// let in, why in a word without blanks, which would make it hex. The name may be any bytes; the password is not part of
// the record. It is a USER_AUTH record of the audit subsystem. Like Audit it does
// not block, and it may be called from any goroutine. Where access control is off
// nothing is audited; it reports false then.
func (m *Monitor) AuditLogin(p *Peer, user []byte, why string) bool {
	a := m.audit
	if a == nil {
		return false
	}
	text := append([]byte(nil), "op=login acct="...)
	text = appendUntrusted(text, user)
	text = append(text, " reason="...)
	text = appendUntrusted(text, why)
	text = appendPeer(text, p, m.comm)
	text = append(text, " res=failed"...)
	a.put(&Record{}, auditUserAuth, string(text))
	return true
}
