package mac

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"sememcached/avc"
)

// peerLabels is whose labels of clients count.
type peerLabels uint8

const (
	peersFile   peerLabels = iota // the contexts file's only
	peersKernel                   // the kernel's, and the file's where it has none
)

// Subject is who the client is, in generation g. The result is retained for the
// caller, who releases it when the connection ends or another generation has
// been asked; 0, nobody, needs no release. It reads no file and does not block.
//
// Where the kernel's labels count, the label of the client's socket is final,
// and is asked for anew in every generation: the kernel itself answers
// "unlabeled" for one whose type a policy load has removed. A datagram has come with
// its label, or without. Only the answer that there is no label goes on to the contexts file; one that cannot be had, or
// that is no SELinux context, makes the client nobody.
//
// In the contexts file the first line that matches any of the client's
// identities decides. If its context is not valid in this policy, or no line
// matches, the client is unlabeled.
func (m *Monitor) Subject(g *Generation, p *Peer) avc.SID {
	if !m.Enabled() || p == nil {
		return 0
	}
	if m.peers == peersKernel && (p.FD >= 0 || p.Label != "") {
		label, err := p.Label, error(nil)
		if !p.UDP {
			label, err = m.label(p.FD)
		}
		switch {
		case errors.Is(err, unix.ENOPROTOOPT):
		case err != nil || !plausible(label):
			m.n.peerFailures.Add(1)
			return 0
		default:
			s, err := m.sids.Intern(label)
			if err != nil {
				m.n.peerFailures.Add(1)
				return 0
			}
			return s
		}
	}
	s := g.Unlabeled
	if g.bound != nil {
		if i := g.bound.contexts.client(p); i >= 0 && g.bound.client[i] != 0 {
			s = g.bound.client[i]
		}
	}
	m.sids.Retain(s)
	return s
}

// KernelLabels says whether the kernel's labels of clients count: whoever receives
// datagrams has to ask for theirs then.
func (m *Monitor) KernelLabels() bool { return m.Enabled() && m.peers == peersKernel }

// plausible tells SELinux contexts from what other security modules answer to
// SO_PEERSEC, such as AppArmor's "unconfined" or "name (enforce)".
func plausible(label string) bool {
	if strings.Count(label, ":") < 2 || len(label) > maxContext {
		return false
	}
	for i := 0; i < len(label); i++ {
		if label[i] < 0x21 || label[i] > 0x7e {
			return false
		}
	}
	return true
}
