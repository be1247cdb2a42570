package server

import "os"

// Names of threads, as top -H shows them. The loops have memcached's name for its
// workers.
const (
	loopThread      = "mc-worker"
	handshakeThread = "mc-tls"
)

// nameThread names the calling thread, to which its goroutine must be locked: see
// /proc/PID/task/TID/comm in proc(5). The runtime starts no thread from a locked one,
// so that no other inherits the name. Without /proc there is none.
func nameThread(name string) { _ = os.WriteFile("/proc/thread-self/comm", []byte(name), 0) }
