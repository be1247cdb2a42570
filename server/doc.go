// Package server is the network side of sememcached: listeners, event loops,
// connections, the dispatch of protocol requests to an engine.Interface, and
// the statistics that only a server can give.
//
// # Threads
//
//	            accept4                     recv / send
//	clients --> acceptor --round robin--> loop 0 .. loop N-1 <--> clients
//	                                        |  ^
//	                          engine calls  v  | eventfd: verdicts, new connections, stop
//	                                      engine
//
// One event loop serves each worker thread (-t). A loop is a goroutine locked
// to its thread, with an epoll set of its own; a connection belongs to one loop
// for its whole life, so that nothing of a connection needs a lock. The loop
// blocks in epoll_wait by a raw system call that keeps the goroutine's P for up
// to 5 ms; only then does it go through the scheduler (while there are TLS handshakes, at
// once). GOMAXPROCS must therefore exceed the number of loops: Serve raises it to the
// loops, the handshakers and two more.
//
// # A turn
//
//	epoll_wait -> Begin -> receive all -> hint all -> execute all -> send all -> End
//
// Every ready connection is read once into a buffer that the connections of the
// loop share; the keys in it are hashed and prefetched; then the commands are
// executed, those of connections with more than -R requests last; and each
// connection's replies leave in one send; a large value leaves as soon as it is found,
// after the replies that were made before it. A request at depth one costs two
// system calls, recv and send: sockets are registered once, edge-triggered, and
// a short read is taken as the end of the input.
//
// Only a partial command is kept, in a buffer of the connection's own that is
// given up when it is empty. Only unsent replies are kept likewise: a connection
// with unsent replies is neither read nor executed until EPOLLOUT has drained
// them, so that at most 1 MiB and one large item wait for a slow reader.
//
// Values above 16 KiB that have not arrived whole are received straight into
// memory that the engine has reserved (uploads), and large hits are sent from
// the item's own memory (pinned items).
//
// # Parking
//
// An engine call that returns Pending parks the connection: its input, from the
// first byte of the command, moves to the connection's own buffer; it is not
// read; its replies so far are sent. When the engine wakes the loop, the command
// is parsed and executed again, from the key it had come to. Replies keep their
// order, and the other connections of the loop go on.
//
// # Long answers
//
// Statistics are computed by a helper goroutine and sent when they are complete;
// the connection is parked meanwhile. Listings of keys are made and sent part by
// part, so that their length and the reader's pace cost no memory.
//
// # Watching
//
// What happens on a loop is put into the bounded queue of a hub, one goroutine,
// which asks for each watcher whether it may know and fills its bounded buffer;
// the loop of the watcher's connection sends. While nobody watches a command
// costs one atomic load more.
//
// # TLS
//
// A connection of a listener with TLS goes from the acceptor to a handshaker, a
// thread of low priority on which handshakes are coroutines, and from there to a
// loop. The loop serves it like any other: crypto/tls reads from and writes to a
// net.Conn that never waits (stream). Certificates are one immutable state behind a
// pointer; a refresh publishes a new one and then has the connections closed whose
// clients it does not trust.
//
// What handshakes leave behind is collected by threads that Go starts. With
// Settings.PreferLoops they too are behind the loops, though not as far as handshakes
// (priority_linux.go), and loops wait in ordinary system calls while there are handshakes,
// since the collector need not stop what is in one.
//
// # UDP
//
// A UDP socket belongs to one loop. Every datagram becomes a connection that
// lives as long as its commands take; replies are collected and leave in frames.
//
// # Stale events
//
// epoll data and the engine's tags are a slot number and that slot's generation.
// A slot's generation changes when its connection is closed, before close(2), so
// that neither an event nor a verdict can reach a later connection with the same
// file descriptor.
//
// # Locks
//
// A loop holds its engine worker's turn lock from Begin to End; loop counters
// are plain fields read under it (Worker.Inspect). loop.mu guards the loop's
// inbox of new connections and is a leaf, as is Server.mu.
//
// # Panics
//
// A panic while one connection's input is parsed or dispatched closes that
// connection and is logged with its input. A panic that passed through the
// engine or the store may have left a lock held: it ends the process.
package server
