package protocol

import "strconv"

// The fixed replies of the text protocol, line end included.
const (
	ReplyStored    = "STORED\r\n"
	ReplyNotStored = "NOT_STORED\r\n"
	ReplyExists    = "EXISTS\r\n"
	ReplyNotFound  = "NOT_FOUND\r\n"
	ReplyDeleted   = "DELETED\r\n"
	ReplyTouched   = "TOUCHED\r\n"
	ReplyOK        = "OK\r\n"
	ReplyEnd       = "END\r\n"
	ReplyReset     = "RESET\r\n"
	ReplyMetaNoop  = "MN\r\n"

	// ReplyError answers unknown commands, and bad arguments of some known ones.
	ReplyError = "ERROR\r\n"
)

// Errors of memcached's text protocol.
const (
	ReplyBadFormat       = "CLIENT_ERROR bad command line format\r\n"
	ReplyBadDataChunk    = "CLIENT_ERROR bad data chunk\r\n"
	ReplyBadExptime      = "CLIENT_ERROR invalid exptime argument\r\n"
	ReplyBadDelta        = "CLIENT_ERROR invalid numeric delta argument\r\n"
	ReplyNonNumeric      = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
	ReplyTooLarge        = "SERVER_ERROR object too large for cache\r\n"
	ReplyOutOfMemory     = "SERVER_ERROR out of memory storing object\r\n"
	ReplyOutOfMemoryIncr = "SERVER_ERROR out of memory\r\n"
	ReplyOutOfMemoryGet  = "SERVER_ERROR out of memory writing get response\r\n"
	ReplyOutOfMemoryStat = "SERVER_ERROR out of memory writing stats\r\n"

	// ReplyBadGetKey answers a get with a key that is too long. memcached 1.6.45
	// copies the error with its line end and then adds another one; clients that
	// count lines have seen it, so it stays.
	ReplyBadGetKey = ReplyBadFormat + "\r\n"

	ReplyFlushOff         = "CLIENT_ERROR flush_all not allowed\r\n"
	ReplyShutdownOff      = "SERVER_ERROR: shutdown not enabled\r\n"
	ReplyShutdownBadMode  = "CLIENT_ERROR invalid shutdown mode\r\n"
	ReplyTLSOff           = "Error TLS not enabled\r\n"
	ReplyUnauthenticated  = "CLIENT_ERROR unauthenticated\r\n"
	ReplyAuthFailure      = "CLIENT_ERROR authentication failure\r\n"
	ReplyBadAuthToken     = "CLIENT_ERROR bad authentication token format\r\n"
	ReplyAuthTooLong      = "CLIENT_ERROR auth token too long\r\n"
	ReplyAuthTermination  = "CLIENT_ERROR bad command line termination\r\n"
	ReplyTooManyConns     = "ERROR Too many open connections\r\n"
	ReplyPipelinedWatch   = "ERROR cannot pipeline other commands before watch\r\n"
	ReplyPipelinedDump    = "ERROR cannot pipeline other commands before metadump\r\n"
	ReplyPipelinedMgdump  = "ERROR cannot pipeline other commands before mgdump\r\n"
	ReplyMemlimitTooSmall = "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n"
	ReplyMemlimitNotBytes = "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n"
	ReplyMemlimitFailed   = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"
)

// Replies about access control, which memcached does not have.
const (
	// ReplyDenied is the answer to a request that the policy refuses and whose
	// refusal need not be hidden.
	ReplyDenied = "CLIENT_ERROR access denied\r\n"
	// ReplyBadContext answers a context that the policy does not know.
	ReplyBadContext = "CLIENT_ERROR invalid context\r\n"
	ReplyRelabeled  = "RELABELED\r\n"
)

// AppendValue appends one item of a get reply to dst and returns it:
//
//	VALUE <key> <flags> <bytes>[ <cas>] CR LF <value> CR LF
//
// The cas unique is there if withCAS, as for gets and gats.
func AppendValue(dst, key []byte, flags uint32, value []byte, cas uint64, withCAS bool) []byte {
	dst = AppendValueLine(dst, key, flags, len(value), cas, withCAS)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendValueLine appends the first line of what AppendValue appends, for a
// value of nbytes bytes that the caller sends by itself, followed by CR LF.
func AppendValueLine(dst, key []byte, flags uint32, nbytes int, cas uint64, withCAS bool) []byte {
	dst = append(dst, "VALUE "...)
	dst = append(dst, key...)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(flags), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(nbytes), 10)
	if withCAS {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, cas, 10)
	}
	return append(dst, "\r\n"...)
}

// AppendUint appends the reply of a successful incr or decr: v and CR LF.
func AppendUint(dst []byte, v uint64) []byte {
	dst = strconv.AppendUint(dst, v, 10)
	return append(dst, "\r\n"...)
}

// AppendStat appends one line of statistics: STAT <name> <value> CR LF. A
// value without bytes leaves the trailing space, as memcached does.
func AppendStat(dst []byte, name, value string) []byte {
	dst = append(dst, "STAT "...)
	dst = append(dst, name...)
	dst = append(dst, ' ')
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendStatUint is AppendStat for a number.
func AppendStatUint(dst []byte, name string, value uint64) []byte {
	dst = append(dst, "STAT "...)
	dst = append(dst, name...)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, value, 10)
	return append(dst, "\r\n"...)
}

// AppendVersion appends VERSION <version> CR LF.
func AppendVersion(dst []byte, version string) []byte {
	dst = append(dst, "VERSION "...)
	dst = append(dst, version...)
	return append(dst, "\r\n"...)
}

// AppendMac appends the reply of mac whoami: MAC <context> CR LF.
func AppendMac(dst []byte, context string) []byte {
	dst = append(dst, "MAC "...)
	dst = append(dst, context...)
	return append(dst, "\r\n"...)
}

// AppendLabel appends the reply of mac label: LABEL <key> <context> CR LF.
func AppendLabel(dst, key []byte, context string) []byte {
	dst = append(dst, "LABEL "...)
	dst = append(dst, key...)
	dst = append(dst, ' ')
	dst = append(dst, context...)
	return append(dst, "\r\n"...)
}

// AppendCheck appends the reply of mac check, ALLOWED or DENIED and the
// permissions that were asked for, as they were given, without doubled spaces.
func AppendCheck(dst []byte, allowed bool, perms []byte) []byte {
	if allowed {
		dst = append(dst, "ALLOWED"...)
	} else {
		dst = append(dst, "DENIED"...)
	}
	for {
		var perm []byte
		perm, perms = NextToken(perms)
		if perm == nil {
			return append(dst, "\r\n"...)
		}
		dst = append(dst, ' ')
		dst = append(dst, perm...)
	}
}
