package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// manTerms is a section whose entries are a term and a text each.
func manTerms(b *strings.Builder, title string, entries [][2]string) {
	fmt.Fprintf(b, ".SH %s\n", title)
	for _, e := range entries {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(e[0]), roff(e[1]))
	}
}

const contextsText = `The file of --contexts. The first line in the file that matches decides; # begins
a comment, and in a pattern * stands for any bytes, ? for one, and \ takes the next
character as it is. A line that cannot be read stops a start, and a reload changes nothing.`

const contextsExample = `client   uid:1001          system_u:system_r:kv_client_t:s0:c1
client   cidr:10.1.0.0/16  system_u:system_r:kv_reader_t:s0
client   *                 system_u:system_r:kv_client_t:s0
kv_item  session:*         system_u:object_r:kv_session_t`

var contextsKinds = [][2]string{
	{"client uid:N, gid:N", "the user or group id of a client over a UNIX socket"},
	{"client cidr:ADDRESS[/BITS]", "the address of a client over TCP"},
	{"client udp:ADDRESS[/BITS]", "the source of a datagram, which can be forged"},
	{"client spiffe:PATTERN, dns:PATTERN, cn:PATTERN", "names in a verified client certificate (TLS)"},
	{"client sasl:PATTERN", "a user who has authenticated (-S, -Y)"},
	{"client *", "whoever it is, but not over UDP; without a line that matches a client is the policy's unlabeled"},
	{"kv_item PATTERN", "new items, by their keys; a context without a level takes the one that the policy computes"},
}

var serverSignals = [][2]string{
	{"INT, TERM", "end; items are kept as --data or -e say"},
	{"USR1", "no new connections; what clients have sent is served, then end"},
	{"HUP", "read the policy, contexts, key rules and users again, all of them or none, then the certificates; open the log files again"},
}

var serverExits = [][2]string{
	{"0", "ended by a signal or the shutdown command"},
	{"1, 64", "a flag or a file that memcached would refuse, too, with its text"},
	{"67", "the user of -u does not exist"},
	{"71", "the system refuses something: an address in use, a data file that cannot be opened"},
	{"74", "ended, and not everything was kept that --data or -e were to keep"},
	{"78", "nobody can decide: a policy, contexts or key rules that cannot be used"},
}

var serverEnvironment = [][2]string{
	{"MEMCACHED_SASL_PWDB", "the file of users for -S, a line each: NAME:PASSWORD or NAME:HASH, with bcrypt and argon2id hashes"},
	{"MEMCACHED_PORT_FILENAME", "a file to which the ports are written, as TCP INET: 11211"},
	{"LISTEN_FDS, NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd: sockets to serve, and where to tell that it serves"},
	{"GOGC", "when the garbage collector runs; with -Z the server has a rule of its own, unless it is set"},
}

// serverManEnd are the sections of sememcached(1) after the options.
func serverManEnd() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".SH CONTEXTS FILE\n%s\n.PP\n.RS\n", roff(contextsText))
	manVerbatim(&b, contextsExample)
	b.WriteString(".RE\n")
	for _, e := range contextsKinds {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", roff(e[0]), roff(e[1]))
	}
	manTerms(&b, "SIGNALS", serverSignals)
	manTerms(&b, "EXIT STATUS", serverExits)
	manTerms(&b, "ENVIRONMENT", serverEnvironment)
	b.WriteString(".SH SEE ALSO\n.BR sememcached\\-policy (1),\n.BR sememcached\\-data (1),\n.BR sememcached\\-rules\\-check (1),\n.BR memcached (1)\n")
	return b.String()
}

// TestManContexts: the manual's example is a contexts file, and it names every kind of
// pattern that there is.
func TestManContexts(t *testing.T) {
	file := t.TempDir() + "/contexts"
	writeFile(t, file, contextsExample+"\n")
	var out, errs strings.Builder
	if code := run([]string{"--check-config", "--contexts", file}, &out, &errs); code != 0 || !strings.Contains(out.String(), "(3 client, 1 kv_item lines)") {
		t.Errorf("exit %d\n%s%s", code, &out, &errs)
	}
	writeFile(t, file, "client nope:x system_u:system_r:kv_client_t:s0\n")
	errs.Reset()
	run([]string{"--check-config", "--contexts", file}, &out, &errs)
	_, list, ok := strings.Cut(errs.String(), "KIND one of ")
	list, _, _ = strings.Cut(list, ",")
	for kind := range strings.FieldsSeq(list) {
		if !slices.ContainsFunc(contextsKinds, func(e [2]string) bool { return strings.Contains(e[0], " "+kind+":") }) {
			t.Errorf("the manual has no word about %s:", kind)
		}
	}
	if !ok || len(strings.Fields(list)) < 8 {
		t.Errorf("expected a list of kinds, found %q", errs.String())
	}
}
