package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// flagRefusals are command lines that memcached refuses, with its text and exit
// code. debian says that Debian's memcached 1.6.18 refuses them in the same way,
// which the test asks it; where it does not, the reason is in the note.
var flagRefusals = []struct {
	args   string
	text   string
	code   int
	debian bool
	note   string
}{
	{"-c 0", "Maximum connections must be greater than 0", 1, true, ""},
	{"-c -1", "Maximum connections must be greater than 0", 1, true, ""},
	{"-t 0", "Number of threads must be greater than 0", 1, true, ""},
	{"-R 0", "Number of requests per event must be greater than 0", 1, true, ""},
	{"-R -5", "Number of requests per event must be greater than 0", 1, false, "looks for 0 only"},
	{"-f 1", "Factor must be greater than 1", 1, true, ""},
	{"-f 0.5", "Factor must be greater than 1", 1, true, ""},
	{"-n 0", "Chunk size must be greater than 0", 1, true, ""},
	{"-p 70000", "ERROR: Invalid port number 70000.", 64, true, ""},
	{"-U 70000", "ERROR: Invalid UDP port number 70000.", 64, false, "takes it modulo 65536"},
	{"-B foo", "Invalid value for binding protocol: foo", 64, true, ""},
	{"-I 512", "Item max size cannot be less than 1024 bytes.", 64, true, ""},
	{"-I 2000m", "Cannot set item size limit higher than 1/2 of memory max.", 64, true, ""},
	{"-m 8000 -I 2000m", "Cannot set item size limit higher than a gigabyte.", 64, true, ""},
	{"-m 8 -I 5m", "Cannot set item size limit higher than 1/2 of memory max.", 64, true, ""},
	{"-m 1", "Cannot set item size limit higher than 1/2 of memory max.", 64, true, ""},
	{"-I 1k", "slab_chunk_max (bytes: 524288) cannot be larger than -I (item_size_max 1024)", 64, true, ""},
	{"-I 700k", "-I (item_size_max: 716800) must be evenly divisible by slab_chunk_max (bytes: 524288)", 64, true, ""},
	{"-I 3m -o slab_chunk_max=768", "slab_chunk_max (bytes: 786432) must divide evenly into 1048576 (slab_page_size)", 64, false, "has slab_chunk_max in bytes"},
	{"-S -B ascii", "ERROR: You cannot allow the ASCII protocol while using SASL.", 64, true, ""},
	{"-S -B auto", "ERROR: You cannot allow the ASCII protocol while using SASL.", 64, true, ""},
	{"-S -U 5", "ERROR: Cannot enable UDP while using binary SASL authentication.", 64, true, ""},
	{"-Y %AUTH% -B binary", "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.", 64, true, ""},
	{"-Y %AUTH% -U 5", "Cannot use UDP with ascii authentication enabled (-U 0 to disable)", 64, true, ""},
	{"-Z -p 0", "ERROR: You cannot enable SSL without a TCP port.", 64, true, ""},
	{"-Z -p 0 -s %DIR%/s", "ERROR: You cannot enable SSL without a TCP port.", 64, true, ""},
	{"-Y ''", "Could not open authfile [] for reading", 1, true, ""},
	{"-s ''", "--unix-socket: expected a value, found none", 64, false, "listens on nothing"},
	{"--contexts ''", "--contexts: expected a value, found none", 64, false, "does not know it"},
	{"--policy ''", "--policy: expected a value, found none", 64, false, "does not know it"},
	{"--key-rules ''", "--key-rules: expected a value, found none", 64, false, "does not know it"},
	{"-t 0x10", "-t, --threads: expected a whole number, found \"0x10\"", 1, false, "reads up to what is no digit"},
	{"-Y /nonexistent", "Could not open authfile [/nonexistent] for reading", 1, true, ""},
	{"-Y %BADAUTH%", "has a malformed entry. Should be 'user:password'", 1, true, ""},
	{"-N 0", "Maximum number of NAPI IDs must be greater than 0", 1, true, ""},
	{"-N 5", "Number of napi_ids(5) cannot be greater than number of threads(4)", 64, true, ""},
	{"-D ''", "No delimiter specified", 1, true, ""},
	{"-l 127.0.0.1:x", "Invalid port number: \"x\"", 71, true, ""},
	{"-l [::1", "Invalid IPV6 address: \"[::1\"", 71, true, ""},
	{"-l tag[]:127.0.0.1", "Listener tags must be between 1 and 8 characters: \"\"", 71, true, ""},
	{"-l tag_123456789_:127.0.0.1", "Listener tags must be between 1 and 8 characters: \"123456789\"", 71, false, "does not know that form"},
	{"-l proto[proxy]:127.0.0.1", "Server not built with proxy", 71, true, ""},
	{"-l no.such.host.invalid", "failed to listen on one of interface(s) no.such.host.invalid", 71, true, ""},
	{"-s /nonexistent/socket", "failed to listen on UNIX socket: /nonexistent/socket", 71, true, ""},
	{"-u no_such_user", "can't find the user no_such_user to switch to", 67, true, ""},
}

// refusalArgs makes a command line of a table's line.
func refusalArgs(t *testing.T, line string) []string {
	t.Helper()
	dir := t.TempDir()
	auth, bad := filepath.Join(dir, "auth"), filepath.Join(dir, "bad")
	writeFile(t, auth, "alice:secret\n")
	writeFile(t, bad, "alice\n")
	line = strings.NewReplacer("%AUTH%", auth, "%BADAUTH%", bad, "%DIR%", dir).Replace(line)
	args := strings.Fields(line)
	for i := range args {
		if args[i] == "''" {
			args[i] = ""
		}
	}
	for _, d := range [][]string{{"-p", "-1"}, {"-l", "127.0.0.1"}, {"-u", whoami(t)}} {
		if !slices.Contains(args, d[0]) && !(d[0] == "-p" && slices.Contains(args, "-s")) {
			args = append(args, d...)
		}
	}
	return args
}

// refusal runs a program that is expected to end at once.
func runRefused(t *testing.T, bin string, args []string) (text string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), "MEMCACHED_SASL_PWDB=")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestFlagRefusals compares refusals with the table, and where Debian's memcached
// has them, with it.
func TestFlagRefusals(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	memcached := needTool(t, "memcached")
	asRoot := os.Geteuid() == 0
	for _, x := range flagRefusals {
		t.Run(x.args, func(t *testing.T) {
			if strings.HasPrefix(x.args, "-u ") && !asRoot {
				needRoot(t)
			}
			args := refusalArgs(t, x.args)
			text, code := runRefused(t, bin, args)
			if code != x.code || !strings.Contains(text, x.text) {
				t.Errorf("expected exit code %d and %q, found %d and %q", x.code, x.text, code, text)
			}
			if !x.debian {
				if x.note == "" {
					t.Error("a line that Debian's memcached does not have needs a note")
				}
				return
			}
			if text, code := runRefused(t, memcached, args); code != x.code || !strings.Contains(text, x.text) {
				t.Errorf("memcached: expected exit code %d and %q, found %d and %q", x.code, x.text, code, text)
			}
		})
	}
}

// acceptedFlags are flags and options that both servers take; "stats settings"
// and the names in "stats" must then agree, but for what knownDifferences lists.
var acceptedFlags = []string{
	"", "-A", "-M", "-C", "-F", "-X", "-W", "-L", "-r", "-v",
	"-t 010 -c 0500 -R 08 -b 010", // decimal, not octal
	"-m 100", "-c 500", "-t 2", "-R 5", "-b 5", "-f 1.5", "-n 64", "-I 2m", "-B ascii", "-a 770", "-D x",
	"--enable-shutdown", "--memory-limit=100", "--conn-lim=500", "--threads 2", "--protocol=ascii", "-m100", "-AM",
	"-Y %AUTH%",
	"-o modern", "-o no_modern", "-o no_maxconns_fast", "-o maxconns_fast", "-o hashpower=17", "-o no_hashexpand",
	"-o no_slab_reassign", "-o slab_automove=0", "-o slab_automove", "-o no_slab_automove", "-o slab_automove_ratio=0.5", "-o slab_automove_window=20",
	"-o slab_automove_freeratio=0.05", "-o tail_repair_time=10", "-o hash_algorithm=jenkins", "-o hash_algorithm=xxh3",
	"-o no_lru_crawler", "-o lru_crawler_sleep=200", "-o lru_crawler_tocrawl=7", "-o no_lru_maintainer", "-o no_lru_crawler,no_lru_maintainer",
	"-o hot_lru_pct=10", "-o warm_lru_pct=30", "-o hot_max_factor=0.3", "-o warm_max_factor=3", "-o temporary_ttl=30", "-o idle_timeout=100",
	"-o watcher_logbuf_size=128", "-o worker_logbuf_size=128", "-o read_buf_mem_limit=16", "-o resp_obj_mem_limit=10", "-o track_sizes", "-o slab_sizes=100-200-400",
	"-o no_chunked_items", "-o drop_privileges", "-o no_drop_privileges", "-o sock_cookie_id=1", "-o inline_ascii_resp", "-o no_inline_ascii_resp",
	"-o ext_item_size=100", "-o ext_item_age=100", "-o ext_low_ttl=10", "-o ext_recache_rate=10", "-o ext_compact_under=1", "-o ext_drop_under=1",
	"-o ext_max_sleep=10", "-o ext_max_frag=0.5", "-o ext_drop_unread", "-o ext_page_size=32,ext_threads=2,ext_io_depth=2",
}

// settingDifferences are the settings that 1.6.45 has otherwise than 1.6.18, and
// statistics that both have under other names; see TestFlagSettings.
var settingDifferences = map[string]string{
	"slab_automove_window":           "10 by default, not 30",
	"client_flags_size":              "new",
	"drop_privileges":                "shown where seccomp is compiled in",
	"slab_reassign_evictions_nomem":  "renamed",
	"slab_reassign_busy_nomem":       "renamed",
	"slab_reassign_last_busy_status": "new",
	"ssl_handshake_errors":           "only with TLS",
	"time_since_server_cert_refresh": "only with TLS",
	"num_napi_ids":                   "prints a number as text",
}

// TestFlagSettings starts both servers with each flag and compares what "stats
// settings" shows and which names "stats" has.
func TestFlagSettings(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	memcached := needTool(t, "memcached")
	for _, line := range acceptedFlags {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			if enabled, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); line == "-L" && bytes.Contains(enabled, []byte("[never]")) {
				t.Skip("memcached refuses -L where the system gives huge pages to nobody")
			}
			ours, theirs := settingsOf(t, bin, line), settingsOf(t, memcached, line)
			for name, want := range theirs {
				if got, ok := ours[name]; settingDifferences[name] == "" && (!ok || got != want) {
					t.Errorf("%s: memcached has %q, found %q", name, want, got)
				}
			}
			for name := range ours {
				if _, ok := theirs[name]; !ok && settingDifferences[name] == "" {
					t.Errorf("%s: memcached does not have it", name)
				}
			}
		})
	}
}

// settingsOf starts a server on a UNIX socket and returns its settings, and the
// names of its statistics with no values.
func settingsOf(t *testing.T, bin, line string) map[string]string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kv") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sock := filepath.Join(dir, "s")
	args := append(refusalArgs(t, line+" -s "+sock), "-U", "0")
	cmd := exec.Command(bin, args...)
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	var conn net.Conn
	waitFor(t, fmt.Sprintf("%s %s to listen", filepath.Base(bin), line), func() bool {
		conn, err = net.Dial("unix", sock)
		return err == nil
	})
	c := newClient(t, conn)
	if strings.Contains(line, "-Y") {
		io.WriteString(c, "set x 0 0 12\r\nalice secret\r\n")
		if reply, err := c.r.ReadString('\n'); reply != "STORED\r\n" {
			t.Fatalf("authentication: %q, %v\n%s", reply, err, &out)
		}
	}
	settings := map[string]string{}
	for name := range c.stats("stats") {
		settings[name] = ""
	}
	for name, value := range c.stats("stats settings") {
		switch name {
		case "domain_socket", "inter", "verbosity", "auth_enabled_ascii":
			value = ""
		}
		settings[name] = value
	}
	return settings
}

// stats asks for statistics.
func (c *client) stats(command string) map[string]string {
	c.t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	m := map[string]string{}
	for {
		line, err := c.r.ReadString('\n')
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if err != nil || len(f) < 3 {
			if line != "END\r\n" {
				c.t.Fatalf("%s: %q, %v", command, line, err)
			}
			return m
		}
		m[f[1]] = f[2]
	}
}
