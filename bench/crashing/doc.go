// Package crashing kills a server at random moments and looks at what its data
// file holds then.
//
// Every connection has keys of its own and knows each state that it has given
// them, in order, and when each was acknowledged. A value names its key and its
// version, so that a torn value, or one under another key, is seen as such. After
// the kill the server is started again on the same file, and every key must be in a state that it had:
//
//	--sync=always    the last one acknowledged, or one that was sent after it
//	--sync=interval  one that is not older than the last one acknowledged an
//	                 interval and a bound before the kill
//
// and with its flags, its time to live, and its tenant's label.
//
// # Power failures
//
// After a kill the system still has what was written; after a power failure it may have
// lost whatever was not synced, in any order. Power records, by strace, what a
// server does to its file and to the directory, and when it answers, while a script stores,
// counts, touches, relabels, deletes and flushes over several connections, with an end and a
// second start in between. Then it looks, at every sync of that trace, at states in which a disk
// may be left: the file as synced last, with any of the pages that were written since, or
// older contents of them, some torn in their sectors, with the old length or the
// new one; and the directory with the first so many of its changes. Little is tried in
// all combinations, much at random, from a seed.
//
// Each of these files must open, pass the checks of bbolt and our own, and have every key in a state that
// it had, not older than what had been answered and has to be remembered:
//
//	always    everything that was answered
//	interval  what was answered when the commit before the last one had ended
//	warm      the file of -e is whole, or not there; and not there, once a server that has
//	          loaded it has answered anything
//
// Some are written to, and looked at again; some are served by a server.
package crashing
