// Package rig starts the servers that are compared, pins them, measures what
// they cost, and pairs the results: what the benchmark commands share.
//
// # Method
//
// Two servers are never compared across runs. All servers of a comparison run at
// the same time, but only one is loaded at a time: in each repetition every one
// has its turn, in an order that is reversed from one repetition to the next. A
// ratio is computed within a repetition, and the figure reported is the median of
// these paired ratios with its smallest and largest value. Drift of the machine,
// which may be shared, so falls out.
//
// # Figures
//
// CPU per request is what the scheduler has charged to all threads of the server
// (/proc/PID/task/*/schedstat, nanoseconds) from the start to the end of the
// measured part, divided by the requests answered in it. It is the better figure
// of the two where the generator and the kernel are the bottleneck. User and
// system time are split in the proportion of /proc/PID/stat.
package rig
