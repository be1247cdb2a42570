package main

import (
	"fmt"
	"strings"
)

// serverManSections are the sections of sememcached(1) after the flags.
func serverManSections() string {
	var b strings.Builder
	b.WriteString(".SH EXTENDED OPTIONS\nNames of\n.BR \\-o ,\nas memcached has them.\n")
	for _, row := range extendedOptions() {
		if row.help != "" {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s%s\n", roff(row.name), roff(row.help), roff(notedMark(row.noted)))
		}
	}
	return b.String()
}
