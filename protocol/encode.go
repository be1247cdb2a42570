package protocol

import "strconv"

// AppendRequest appends r as a client would send it, data block included, in
// the plainest spelling: single spaces, CR LF, no leading zeros. Parsing what it
// appends yields r again, but for runs of spaces in Keys, Args, Perms and
// Meta.Flags, for every r that came out of Parse as Ready. A None Command
// appends nothing.
func AppendRequest(dst []byte, r *Request) []byte {
	if r.Command == None || r.Command >= numCommands {
		return dst
	}
	dst = append(dst, r.Command.String()...)
	switch r.Command {
	case Get, Gets:
		dst = appendTokens(dst, r.Keys)
	case Gat, Gats:
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, r.Exptime, 10)
		dst = appendTokens(dst, r.Keys)
	case Set, Add, Replace, Append, Prepend, CAS:
		return appendStore(dst, r)
	case Delete:
		dst = appendToken(dst, r.Key)
	case Incr, Decr:
		dst = appendToken(dst, r.Key)
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, r.Delta, 10)
	case Touch:
		dst = appendToken(dst, r.Key)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, r.Exptime, 10)
	case FlushAll:
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, r.Exptime, 10)
	case Verbosity:
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, r.Delta, 10)
	case MetaGet, MetaDelete, MetaArithmetic, MetaDebug:
		dst = appendMetaToken(dst, r)
		dst = appendTokens(dst, r.Meta.Flags)
		return append(dst, "\r\n"...)
	case MetaSet:
		dst = appendMetaToken(dst, r)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(r.NBytes), 10)
		dst = appendTokens(dst, r.Meta.Flags)
		dst = append(dst, "\r\n"...)
		dst = append(dst, r.Data...)
		return append(dst, "\r\n"...)
	case MacLabel, MetaDeletePrefix:
		dst = appendToken(dst, r.Key)
	case MacCheck, MacExplain:
		dst = appendToken(dst, r.Key)
		dst = appendTokens(dst, r.Perms)
	case MacRelabel, Relabel:
		dst = appendToken(dst, r.Key)
		dst = appendToken(dst, r.Context)
	case MacCreate:
		if r.Context == nil {
			dst = append(dst, " -"...)
		} else {
			dst = appendToken(dst, r.Context)
		}
	default:
		// The arguments hold the noreply of the commands that look for one.
		dst = appendTokens(dst, r.Args)
		return append(dst, "\r\n"...)
	}
	if r.Noreply {
		dst = append(dst, " noreply"...)
	}
	return append(dst, "\r\n"...)
}

func appendStore(dst []byte, r *Request) []byte {
	dst = appendToken(dst, r.Key)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(r.Flags), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.Exptime, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(r.NBytes), 10)
	if r.Command == CAS {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, r.CAS, 10)
	}
	if r.Noreply {
		dst = append(dst, " noreply"...)
	}
	dst = append(dst, "\r\n"...)
	dst = append(dst, r.Data...)
	return append(dst, "\r\n"...)
}

// appendMetaToken appends the key of a meta command as it came, in base64 if
// the flags say so.
func appendMetaToken(dst []byte, r *Request) []byte {
	dst = append(dst, ' ')
	if r.Meta.Binary {
		return appendBase64(dst, r.Key)
	}
	return append(dst, r.Key...)
}

func appendToken(dst, token []byte) []byte {
	dst = append(dst, ' ')
	return append(dst, token...)
}

// appendTokens appends the tokens of text, each after one space.
func appendTokens(dst, text []byte) []byte {
	for {
		var token []byte
		if token, text = NextToken(text); token == nil {
			return dst
		}
		dst = appendToken(dst, token)
	}
}
