package main

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"sememcached/mac"
	"sememcached/server"
)

// What the flags say is checked here, after all have been read: the order of the
// checks is memcached's, so that the first refusal is the same.

// mostLabels is what --max-labels may be: more than the contexts of any policy and
// categories that people use, and well below what a SID can count.
const mostLabels = 1 << 24

func (o *options) finish(r *rawFlags) error {
	s := &o.server
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{s.MaxConns <= 0, "Maximum connections must be greater than 0"},
		{s.Threads <= 0, "Number of threads must be greater than 0"},
		{s.ReqsPerEvent <= 0, "Number of requests per event must be greater than 0"},
		{s.ChunkSize <= 0, "Chunk size must be greater than 0"},
		{!(s.GrowthFactor > 1), "Factor must be greater than 1"},
		{s.Threads > 1024, "Number of threads must be 1024 or less"},
		{r.delimiterGiven && r.delimiter == "", "No delimiter specified"},
		{r.napiGiven && o.tuning.NAPIIDs <= 0, "Maximum number of NAPI IDs must be greater than 0"},
	} {
		if c.bad {
			return exitf(exitFailure, "%s", c.text)
		}
	}
	if s.Port < -1 || s.Port > 65535 {
		return exitf(exitUsage, "ERROR: Invalid port number %d.", s.Port)
	}
	if s.UDPPort < -1 || s.UDPPort > 65535 {
		return exitf(exitUsage, "ERROR: Invalid UDP port number %d.", s.UDPPort)
	}
	if s.UDPPort != 0 && !r.tcpGiven {
		s.Port = s.UDPPort // as memcached has it
	}
	if err := notEmpty(r); err != nil {
		return err
	}
	if err := o.dialects(r); err != nil {
		return err
	}
	if o.tuning.NAPIIDs > s.Threads {
		return exitf(exitUsage, "Number of napi_ids(%d) cannot be greater than number of threads(%d)", o.tuning.NAPIIDs, s.Threads)
	}
	if s.Threads > 64 {
		o.warnings = append(o.warnings, "WARNING: Setting a high number of workerthreads is not recommended.",
			" Set this value to the number of cores in your machine or less.")
	}
	if r.delimiter != "" {
		s.PrefixDelimiter = r.delimiter[0]
	}
	if r.napiGiven {
		o.noted = append(o.noted, "-N")
	}
	if r.largePages {
		o.noted = append(o.noted, "-L")
	}
	mask, err := strconv.ParseUint(r.mask, 8, 12)
	if err != nil {
		return exitf(exitUsage, "sememcached: -a %s: expected an octal access mask such as 700", r.mask)
	}
	s.UnixMask = int(mask)
	if err := o.absolute(); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	s.Verbosity = r.verbose
	if err := o.sizes(r); err != nil {
		return err
	}
	if err := o.applyExtended(r.extended); err != nil {
		return err
	}
	s.Tuning = &o.tuning
	if err := o.data.finish(r.given); err != nil {
		return err
	}
	return o.access(r)
}

// notEmpty refuses flags that were given without a name or a label in them, as by a
// variable of a script that is not set: nobody means a server without the users, the
// policy or the contexts of that file, or one that is open to the network.
func notEmpty(r *rawFlags) error {
	if r.given("auth-file") && r.value("auth-file") == "" {
		return exitf(exitFailure, "Could not open authfile [] for reading, error: expected the name of a file, found none")
	}
	for _, name := range []string{
		"unix-socket", "policy", "contexts", "peer-labels", "server-context", "audit-log",
		"key-rules", "identities", "endpoint-labels", "access-log", "data", "memory-file",
	} {
		if v := r.value(name); r.given(name) && (v == "" || v == "[]") { // [] is a list of one empty name
			return exitf(exitUsage, "sememcached: --%s: expected a value, found none: leave the flag out if nothing is meant", name)
		}
	}
	return nil
}

// dialects checks what is spoken: -B, -S and -Y, which each leave one protocol, and -Z.
func (o *options) dialects(r *rawFlags) error {
	s := &o.server
	switch s.Protocol {
	case "auto", "ascii", "binary":
	default:
		return exitf(exitUsage, "Invalid value for binding protocol: %s\n -- should be one of auto, binary, or ascii", s.Protocol)
	}
	if s.SASL {
		if r.protocolGiven && s.Protocol != "binary" || s.AuthFile != "" {
			return exitf(exitUsage, "ERROR: You cannot allow the ASCII protocol while using SASL.")
		}
		if s.UDPPort != 0 {
			return exitf(exitUsage, "ERROR: Cannot enable UDP while using binary SASL authentication.")
		}
		s.Protocol = "binary"
	}
	if s.AuthFile != "" {
		if r.protocolGiven && s.Protocol != "ascii" {
			return exitf(exitUsage, "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.")
		}
		if s.UDPPort != 0 {
			return exitf(exitUsage, "Cannot use UDP with ascii authentication enabled (-U 0 to disable)")
		}
		s.Protocol = "ascii"
	}
	if s.TLS.Enabled && s.Port == 0 && !server.Inherits() {
		return exitf(exitUsage, "ERROR: You cannot enable SSL without a TCP port.")
	}
	return nil
}

// absolute makes the paths absolute: a daemon leaves the directory it was started
// in, and loads its files again on SIGHUP.
func (o *options) absolute() error {
	for _, p := range []*string{&o.pidfile, &o.server.UnixPath, &o.server.AuthFile, &o.mac.PolicyFile, &o.mac.ContextsFile, &o.mac.AuditLog} {
		if *p == "" || p == &o.mac.AuditLog && *p == "stderr" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// sizes checks -m and -I.
func (o *options) sizes(r *rawFlags) error {
	mb, err := strconv.ParseInt(r.memory, 10, 64)
	if err != nil || mb < 0 || mb > math.MaxInt64>>20 {
		return exitf(exitUsage, "sememcached: -m %s: expected a number of megabytes", r.memory)
	}
	o.memory = mb << 20
	size, ok := parseSize(r.maxItem)
	switch {
	case !ok:
		return exitf(exitUsage, "sememcached: -I %s: expected a size such as 1m, 512k or 2000000", r.maxItem)
	case size < 1024:
		return exitf(exitUsage, "Item max size cannot be less than 1024 bytes.")
	case size > o.memory/2:
		return exitf(exitUsage, "Cannot set item size limit higher than 1/2 of memory max.")
	case size > 1<<30:
		return exitf(exitUsage, "Cannot set item size limit higher than a gigabyte.")
	}
	o.server.MaxItem = int(size)
	o.server.MaxBytes = uint64(o.memory)
	return nil
}

// parseSize reads a number of bytes with an optional k, m or g.
func parseSize(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	shift := 0
	switch s[len(s)-1] {
	case 'k', 'K':
		shift = 10
	case 'm', 'M':
		shift = 20
	case 'g', 'G':
		shift = 30
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

// access checks the flags of access control.
func (o *options) access(r *rawFlags) error {
	mode, err := mac.ParseMode(r.macMode)
	if err != nil {
		return exitf(exitUsage, "sememcached: --mac=%s: %w", r.macMode, err)
	}
	o.mac.Mode = mode
	switch r.macDeny {
	case "hide":
	case "error":
		o.deny = true
	default:
		return exitf(exitUsage, "sememcached: --mac-deny=%s: expected hide or error", r.macDeny)
	}
	if o.mac.PeerLabels != "" && o.mac.PeerLabels != "kernel" {
		return exitf(exitUsage, "sememcached: --peer-labels=%s: expected kernel", o.mac.PeerLabels)
	}
	if o.mac.MaxLabels < 1 || o.mac.MaxLabels > mostLabels {
		return exitf(exitUsage, "sememcached: --max-labels=%d: expected a number from 1 to %d", o.mac.MaxLabels, mostLabels)
	}
	if o.mac.Booleans, err = parseBooleans(r.booleans); err != nil {
		return err
	}
	if mode == mac.Off {
		var unused []string
		for _, name := range []string{"policy", "boolean", "permissive", "contexts", "peer-labels", "server-context", "max-labels"} {
			if r.given(name) {
				unused = append(unused, "--"+name)
			}
		}
		if len(unused) > 0 {
			o.warnings = append(o.warnings, "--mac=off leaves nothing to these flags, which are not looked at: "+strings.Join(unused, " "))
		}
	}
	return o.rules(&r.rules, r.given)
}

// parseBooleans reads name=on|off|1|0|true|false pairs.
func parseBooleans(pairs []string) (map[string]bool, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		name, state, _ := strings.Cut(p, "=")
		switch state {
		case "on", "1", "true":
			m[name] = true
		case "off", "0", "false":
			m[name] = false
		default:
			return nil, exitf(exitUsage, "sememcached: --boolean %s: expected NAME=on or NAME=off", p)
		}
	}
	return m, nil
}
