package server

import "strconv"

// shownInput is how many bytes of the input that caused a panic are logged.
const shownInput = 256

// shown is the start of a client's input for the log, which escapes whatever is
// not printable.
func shown(input []byte) string {
	if len(input) <= shownInput {
		return string(input)
	}
	return string(input[:shownInput]) + "... (" + strconv.Itoa(len(input)) + " bytes)"
}

// ruleDenials is how many requests the key rules have refused.
func (s *Server) ruleDenials() (n uint64) {
	s.mu.Lock()
	loops := s.loops
	base := s.base.ruleDenials
	s.mu.Unlock()
	for _, l := range loops {
		l.worker.Inspect(nil, func() { n += l.n.ruleDenials })
	}
	return n - base
}
