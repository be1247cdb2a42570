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
package crashing
