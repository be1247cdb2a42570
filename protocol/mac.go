package protocol

// parseMac reads the commands about access control:
//
//	mac whoami
//	mac label <key>
//	mac check <key> <perm>*
//	mac explain <key> <perm>* [json]
//	mac relabel <key> <context> [noreply]
//	mac create <context>|-
//	relabel <key> <context> [noreply]
//
// They are newer than memcached's habits, so a malformed one is always answered
// and nothing may follow the last argument.
func parseMac(r *Request, relabel bool, args []byte, n int) (int, Outcome, []byte) {
	noreply := r.Noreply
	r.Noreply = false
	verb := []byte("relabel")
	if !relabel {
		verb, args = NextToken(args)
	}
	first, rest := NextToken(args)
	second, rest2 := NextToken(rest)
	third, rest3 := NextToken(rest2)
	fourth, _ := NextToken(rest3)
	ok := false
	switch string(verb) {
	case "whoami":
		r.Command = MacWhoami
		ok = first == nil
	case "label":
		r.Command = MacLabel
		r.Key = first
		ok = first != nil && second == nil
	case "check", "explain":
		r.Command = MacCheck
		if string(verb) == "explain" {
			r.Command = MacExplain
		}
		r.Key = first
		r.Perms = trimSpaces(rest)
		ok = second != nil
	case "relabel":
		r.Command = MacRelabel
		if relabel {
			r.Command = Relabel
		}
		r.Key = first
		r.Context = second
		r.Noreply = noreply && third != nil
		ok = second != nil && (third == nil || r.Noreply && fourth == nil)
	case "create":
		r.Command = MacCreate
		if string(first) != "-" {
			r.Context = first
		}
		ok = first != nil && second == nil
	}
	if !ok || len(r.Key) > KeyMax {
		c := r.Command
		r.reset()
		r.Command = c
		return n, Reply, replyBadFormat
	}
	return n, Ready, nil
}
