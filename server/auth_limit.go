package server

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"sememcached/mac"
)

// limiter bounds how often one source may fail to authenticate: an attempt takes
// a token before it is looked at, success gives it back. A source without tokens
// is refused without a look at its password, in the same words. So guessing is
// slow, and the work that one source can cause, and the connections of it that
// wait, are bounded too. Other sources are not affected.
//
// A source is an IPv4 address, the /64 of an IPv6 address, or a user of this
// machine.
type limiter struct {
	burst float64 // tokens of a source that has not failed
	rate  float64 // tokens that come back in a second

	mu sync.Mutex
	// +checklocks:mu
	sources map[string]*tokens
	// +checklocks:mu
	others tokens // of all sources that there is no room for
}

type tokens struct {
	left float64
	at   time.Time
}

const (
	failureBurst = 20
	failureRate  = 1
	maxSources   = 8192
)

// sourceOf names the source of a client.
func sourceOf(p *mac.Peer) string {
	if !p.Addr.IsValid() {
		return "uid " + strconv.FormatUint(uint64(p.UID), 10)
	}
	a := p.Addr.Addr().Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	return a.String()
}

// take takes a token of a source, if it has one.
func (l *limiter) take(source string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.find(source, now)
	l.refill(t, now)
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}

// give gives it back: the attempt was successful.
func (l *limiter) give(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.sources[source]
	if t == nil {
		t = &l.others
	}
	t.left = min(t.left+1, l.burst)
}

// Preconditions: mu is held.
func (l *limiter) refill(t *tokens, now time.Time) {
	if !t.at.IsZero() {
		t.left = min(t.left+max(now.Sub(t.at).Seconds(), 0)*l.rate, l.burst)
	} else {
		t.left = l.burst
	}
	t.at = now
}

// Preconditions: mu is held.
func (l *limiter) find(source string, now time.Time) *tokens {
	if t := l.sources[source]; t != nil {
		return t
	}
	if len(l.sources) >= maxSources {
		for name, t := range l.sources {
			if l.refill(t, now); t.left >= l.burst {
				delete(l.sources, name)
			}
		}
		if len(l.sources) >= maxSources {
			return &l.others
		}
	}
	if l.sources == nil {
		l.sources = make(map[string]*tokens)
	}
	t := &tokens{}
	l.sources[source] = t
	return t
}
