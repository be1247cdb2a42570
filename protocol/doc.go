// Package protocol turns bytes into requests and results into replies for the
// protocols that memcached 1.6.45 speaks. It is pure: it opens nothing, keeps
// no clock, starts nothing and decides nothing about items or rights.
//
// # The text protocol
//
// A request is a line, and for the commands that store a data block after it:
//
//	<command> SP+ <token> SP+ <token> ... [CR] LF
//	<NBytes bytes> CR LF
//
// The rules are those of memcached's parser (protocol.txt says less than the
// server does), because clients have come to rely on both halves of them:
//
//   - Only the space separates tokens, one or several. A tab, a NUL or a CR in
//     the middle of a line belongs to its token. One CR before the LF is dropped.
//   - Names are lower case and begin at the first byte. A leading space makes
//     "get" and its kin unknown, but not the administrative commands (flush_all,
//     verbosity, slabs, ...), which memcached looks up by token instead.
//   - A line of fewer than four bytes, line end included, is malformed.
//   - Keys have 1 to 250 bytes. A longer one is an error of the whole request.
//   - A line without LF among its first 2,049 bytes closes the connection. Lines
//     of get and gets may be longer, up to Limits.MaxLine; lines of mac and
//     relabel may have 8,192 bytes, since a context may fill a page.
//   - An unknown command whose last token begins with HTTP/ closes the connection:
//     somebody's browser must not be able to smuggle commands in.
//   - "noreply" counts where it is the last token. Which errors it silences is
//     memcached's choice too: those found after the tokens were counted and the
//     length of the data block was understood.
//   - The length of a data block, and the numbers of gat, flush_all and verbosity
//     are digits only. Flags, exptime, cas and delta are read as strtol and
//     strtoull read them: "+5" and a trailing tab pass, larger numbers wrap to
//     the field where the C type did. number.go has the exact rules.
//
// The meta commands (meta.go) are lines of the same kind with flags behind the
// key, and are known where Limits.Meta is set.
//
// # The binary protocol
//
// A request is a header of 24 bytes with the lengths of what follows; binary.go
// draws it. ParseBinary maps every opcode to the Command that the text protocol
// would use, with Request.Binary for the differences: quiet forms, the key in
// the reply, the opaque. A connection that may speak either protocol speaks
// binary if its first byte is MagicRequest.
//
// # Incremental parsing
//
// Parse, and ParseBinary likewise, looks at the start of a receive buffer and
// keeps no state. It either finds a whole request, or asks for more bytes; called
// again with more it starts over. Requests do not depend on how their bytes were cut into packets:
// whatever the splits, outcomes and replies are the same. The caller keeps the
// bytes, of text at most max(8,192, Limits.MaxLine, 2,049+Limits.Inline+2), of a
// frame at most 65,814+Limits.Inline, and the slices in a Request are views of
// them.
//
// Starting over is cheap but not free. Request.Need tells from which buffer
// length on a call can say something new, and ParseFrom takes the number of
// bytes that are known to hold no LF, so that a client that sends a megabyte of
// keys a byte at a time costs one look at every byte.
//
// A data block of more than Limits.Inline bytes that is not already in the
// buffer is not waited for: the outcome is Upload, and the caller moves the
// block to wherever it belongs. An error in a line with a data block leaves
// Request.Swallow: the block is discarded as it comes.
//
// # Concurrency
//
// Everything here is free of shared mutable state. A Request belongs to one
// goroutine at a time.
package protocol
