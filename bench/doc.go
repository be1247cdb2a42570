// Package bench holds what is measured about the server, and the commands that
// measure it:
//
//	load        the load generator; loadgen is its command
//	rig         servers side by side: start, pin, measure, pair
//	sidebyside  our server against memcached and others: make bench
//	guard       the same, short, with floors: make bench-guard
//	profile     where the processor time of each workload goes
//	differ      the same commands to our server and to memcached; differential is
//	            its command: make soak
//	robust      what clients that behave badly cost the others: make soak
//	soak        long random use with a model, and a search for leaks: make soak
//
// RESULTS.md has the latest figures with machine, commit and command. The tests
// of this package are those that need a whole server: allocations and system
// calls per request.
package bench
