package server

import "slices"

// Ports lists the TCP and UDP ports of the settings that are not left to the
// kernel, in ascending order; it may look up names of -l.
func (s *Settings) Ports() ([]uint16, error) {
	if s.UnixPath != "" {
		return nil, nil
	}
	as, err := parseInterfaces(s.Interfaces, s.Port)
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for _, a := range as {
		if a.Port() != 0 {
			ports = append(ports, a.Port())
		}
	}
	if s.UDPPort > 0 {
		ports = append(ports, uint16(s.UDPPort))
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}
