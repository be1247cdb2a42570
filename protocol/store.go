package protocol

// parseStore: <command> <key> <flags> <exptime> <bytes> [<cas>] [noreply]
func parseStore(r *Request, c Command, args, in []byte, n int, limits *Limits) (int, Outcome, []byte) {
	r.Command = c
	// The texts from flags, exptime and cas on are kept: the loose numbers read
	// the rest of the line.
	key, flagsText := NextToken(args)
	if flags, exptime, nbytes, ok := plainNumbers(flagsText); ok && len(key) <= KeyMax && c != CAS {
		r.Key, r.Flags, r.Exptime, r.NBytes = key, flags, int64(exptime), nbytes
		return parseBlock(r, in, n, limits)
	}
	_, exptimeText := NextToken(flagsText)
	_, lengthText := NextToken(exptimeText)
	length, casText := NextToken(lengthText)
	if length == nil {
		return n, Reply, replyBadFormat
	}
	nbytes, ok := ParseInt32(length)
	if !ok || nbytes < 0 || nbytes > NBytesMax {
		return n, Reply, replyBadFormat
	}
	if len(casText) > 0 {
		last, _ := lastToken(args, tokensMax-1)
		r.Noreply = isNoreply(last)
	}
	r.NBytes = int(nbytes)
	r.Swallow = r.NBytes + 2
	if len(key) > KeyMax {
		return refuse(r, n, replyBadFormat)
	}
	r.Key = key
	if r.Flags, ok = looseUint32(flagsText); !ok {
		return refuse(r, n, replyBadFormat)
	}
	seconds, ok := looseInt32(exptimeText)
	if !ok {
		return refuse(r, n, replyBadFormat)
	}
	r.Exptime = int64(seconds)
	if c == CAS {
		if r.CAS, ok = looseUint64(casText); !ok {
			return refuse(r, n, replyBadFormat)
		}
	}
	r.Swallow = 0
	return parseBlock(r, in, n, limits)
}

// plainNumbers reads what nearly every storing line has behind its key: three
// numbers of one to ten digits, one space between them and nothing else. What it
// does not take is for the slow path to judge.
func plainNumbers(text []byte) (flags uint32, exptime int32, nbytes int, ok bool) {
	var v [3]uint64
	field, digits := 0, 0
	for _, c := range text {
		switch d := c - '0'; {
		case d <= 9 && digits < 10:
			v[field] = v[field]*10 + uint64(d)
			digits++
		case c == ' ' && digits > 0 && field < 2:
			field++
			digits = 0
		default:
			return 0, 0, 0, false
		}
	}
	if field != 2 || digits == 0 || v[2] > NBytesMax {
		return 0, 0, 0, false
	}
	return uint32(v[0]), int32(v[1]), int(v[2]), true
}

// parseBlock reads the data block of a storing request whose line, n bytes of
// in, is good.
func parseBlock(r *Request, in []byte, n int, limits *Limits) (int, Outcome, []byte) {
	end := n + r.NBytes
	if len(in) < end+2 {
		if r.NBytes > limits.inline() {
			return n, Upload, nil
		}
		r.reset()
		r.Need = end + 2
		return 0, NeedMore, nil
	}
	if in[end] != '\r' || in[end+1] != '\n' {
		r.BadChunk = true
		return refuse(r, end+2, replyBadDataChunk)
	}
	r.Data = in[n:end:end]
	return end + 2, Ready, nil
}
