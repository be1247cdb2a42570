package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The argument of -o is a list in the form of getsubopt(3): names separated by
// commas, each with an optional =value. What each name does is a row of a table
// (extendedOptions); a name without a row is refused as memcached refuses it.
// Texts of refusals are memcached's, for scripts that look for them.

// extOption is one name of -o.
type extOption struct {
	name string
	// help is what -h says; a name without it is left out there, as memcached's own
	// help leaves out the names that it keeps for old configurations.
	help string
	// missing is the refusal of a name without =value; empty where none is needed.
	// A value that is not needed is ignored, as getsubopt's callers do.
	missing string
	// set takes the value, "" if there is none. Its error is the text of the refusal.
	set func(o *options, value string) error
	// noted is for names that steer what this server has not: they are accepted,
	// checked and shown by "stats settings", and said once at start.
	noted bool
}

// extendedOptions are all names of -o.
func extendedOptions() []extOption {
	return slices.Concat(generalOptions, slabOptions, lruOptions, extstoreOptions, tlsOptions)
}

// applyExtended reads the arguments of all -o flags, in their order.
func (o *options) applyExtended(args []string) error {
	table := make(map[string]*extOption)
	rows := extendedOptions()
	for i := range rows {
		table[rows[i].name] = &rows[i]
	}
	for _, arg := range args {
		for rest := arg; rest != ""; {
			var opt string
			opt, rest, _ = strings.Cut(rest, ",")
			name, value, given := strings.Cut(opt, "=")
			row := table[name]
			if row == nil {
				return exitf(exitFailure, "%s", illegalSuboption(opt))
			}
			if !given && row.missing != "" {
				return exitf(exitFailure, "%s", row.missing)
			}
			if err := row.set(o, value); err != nil {
				return exitf(exitFailure, "%w", err)
			}
			if row.noted && !slices.Contains(o.noted, name) {
				o.noted = append(o.noted, name)
			}
		}
	}
	return o.checkExtended()
}

// refusal is a text for people and scripts, memcached's where it has one.
type refusal string

func (r refusal) Error() string { return string(r) }

func illegalSuboption(opt string) string { return fmt.Sprintf("Illegal suboption %q", opt) }

// refused is a setter for names of a feature that is not here: a memcached
// built without it does not know the name.
func refused(name, instead string) func(*options, string) error {
	return func(_ *options, value string) error {
		if value != "" {
			name += "=" + value
		}
		return fmt.Errorf("%s\n%s", illegalSuboption(name), instead)
	}
}

// ignored is a setter for names whose value says nothing to this server.
func ignored(*options, string) error { return nil }

// turn is a setter for a name that switches a field.
func turn(field func(o *options) *bool, on bool) func(*options, string) error {
	return func(o *options, _ string) error {
		*field(o) = on
		return nil
	}
}

// unsigned is a setter for a 32-bit number, in units of unit.
func unsigned[T uint32 | int](name string, unit uint64, field func(o *options) *T) func(*options, string) error {
	return func(o *options, value string) error {
		n, err := strconv.ParseUint(strings.TrimLeft(value, " "), 10, 32)
		if err != nil {
			return unparsed(name)
		}
		*field(o) = T(min(n*unit, math.MaxUint32))
		return nil
	}
}

// number is a setter for a number that refuse, if not nil, may refuse. What
// follows the digits is ignored and no digits are 0, as atoi(3) has it, where
// memcached's bounds exclude 0; elsewhere a number is required, so that a slip of
// the pen is not taken for 0.
func number[T uint32 | int32 | int](name string, strict bool, field func(o *options) *T, refuse func(n int) string) func(*options, string) error {
	return func(o *options, value string) error {
		n, err := strconv.ParseInt(strings.TrimLeft(value, " "), 10, 32)
		if err != nil {
			if strict {
				return unparsed(name)
			}
			n = atoi(value)
		}
		if refuse != nil {
			if text := refuse(int(n)); text != "" {
				return refusal(text)
			}
		}
		*field(o) = T(n)
		return nil
	}
}

// decimal is a setter for a fraction that refuse may refuse.
func decimal(name string, field func(o *options) *float64, refuse func(f float64) string) func(*options, string) error {
	return func(o *options, value string) error {
		f, err := strconv.ParseFloat(strings.TrimLeft(value, " "), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			if refuse == nil {
				return unparsed(name)
			}
			f = 0
		}
		if refuse != nil {
			if text := refuse(f); text != "" {
				return refusal(text)
			}
		}
		*field(o) = f
		return nil
	}
}

func unparsed(name string) error { return fmt.Errorf("could not parse argument to %s", name) }

// atoi is C's: the number at the start of s, 0 if there is none.
func atoi(s string) int64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '-' || s[0] == '+')) {
		end++
	}
	n, _ := strconv.ParseInt(s[:end], 10, 32) // what does not fit is the nearest bound
	return n
}

// extendedUsages lists the names of -o for -h, in the form of memcached's own
// help.
func extendedUsages() string {
	var b strings.Builder
	for _, row := range extendedOptions() {
		if row.help != "" {
			fmt.Fprintf(&b, "   - %-20s %s%s\n", row.name+":", row.help, notedMark(row.noted))
		}
	}
	return b.String()
}

func notedMark(noted bool) string {
	if noted {
		return "; accepted, of no effect here"
	}
	return ""
}
