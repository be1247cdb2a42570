package mac

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sememcached/avc"
	"sememcached/policy"
)

// machine is what a start finds.
type machine struct {
	name string
	make func(t *testing.T) Config
}

func withKernel(b func(t *testing.T) []byte, change func(k *fakeKernel)) func(t *testing.T) Config {
	return func(t *testing.T) Config {
		k := newFakeKernel(t, b(t))
		if change != nil {
			change(k)
		}
		return k.config(Config{Mode: Auto})
	}
}

func builtin(*testing.T) []byte { return policy.Default() }

func without(name, to string) func(t *testing.T) []byte {
	return func(t *testing.T) []byte { return renamed(t, name, to) }
}

func unmounted(filesystems string) func(t *testing.T) Config {
	return func(t *testing.T) Config {
		cfg := Config{SELinuxFS: t.TempDir(), ProcRoot: t.TempDir()}
		if filesystems != "" {
			writeFile(t, filepath.Join(cfg.ProcRoot, "filesystems"), filesystems)
		}
		return cfg
	}
}

// The whole table of ways to start. A row is a machine, and what becomes of the
// modes auto, kernel and policy: who decides, or words of the refusal.
func TestStartTable(t *testing.T) {
	const (
		install = "install the module that defines them"
		choices = "--mac=policy decides by a policy file (--policy FILE) or the built-in policy; --mac=off switches access control off"
	)
	for _, c := range []struct {
		machine
		auto, kernel []string // one word: who decides; more: all words of the refusal
	}{
		{machine{"mounted, classes defined", withKernel(builtin, nil)}, []string{"kernel"}, []string{"kernel"}},
		{machine{"mounted, no calculate", withKernel(without("calculate", "calculatx"), nil)}, []string{"kernel"}, []string{"kernel"}},
		{
			machine{"mounted, no kv_item", withKernel(without("kv_item", "kv_itex"), nil)},
			[]string{"does not define kv_item;", install, choices},
			[]string{"does not define kv_item;", install, choices},
		},
		{
			machine{"mounted, no kv_server", withKernel(without("kv_server", "kv_servex"), nil)},
			[]string{"does not define kv_server;", install, choices},
			[]string{"does not define kv_server;", install, choices},
		},
		{
			machine{"mounted, neither", withKernel(func(t *testing.T) []byte {
				b, err := os.ReadFile("../policy/testdata/micro/nomls.v33.bin")
				if err != nil {
					t.Fatal(err)
				}
				return b
			}, func(k *fakeKernel) {
				_ = os.RemoveAll(filepath.Join(k.root, "class", "kv_item"))
				k.answer = func(name, in string) ([]byte, bool) { return []byte(in), name == "context" }
			})},
			[]string{"does not define kv_item kv_server;", install},
			[]string{"does not define kv_item kv_server;", install},
		},
		{
			machine{"mounted, a permission short, unknown allowed", withKernel(without("append", "appenx"), func(k *fakeKernel) { k.write("deny_unknown", "0") })},
			[]string{"does not define kv_item:append;", install},
			[]string{"does not define kv_item:append;", install},
		},
		{
			machine{"mounted, the classes cannot be read", withKernel(builtin, func(k *fakeKernel) { _ = os.RemoveAll(filepath.Join(k.root, "class")) })},
			[]string{"no such file"},
			[]string{"no such file"},
		},
		{
			machine{"mounted, a class number that is none", withKernel(builtin, func(k *fakeKernel) { k.write("class/kv_item/index", "x") })},
			[]string{`expected a number, found "x"`},
			[]string{`expected a number, found "x"`},
		},
		{
			machine{"mounted, compute_av not permitted", withKernel(builtin, func(k *fakeKernel) {
				k.before = func(name, _ string) {
					if name == "access" {
						k.breakIt(unix.EACCES)
					}
				}
			})},
			[]string{"security:compute_av", "permission denied"},
			[]string{"security:compute_av"},
		},
		{
			machine{"mounted, check_context not permitted", withKernel(builtin, func(k *fakeKernel) { k.breakIt(unix.EACCES) })},
			[]string{"security:check_context"},
			[]string{"security:check_context"},
		},
		{
			machine{"mounted, no unlabeled context", withKernel(builtin, func(k *fakeKernel) { k.write("initial_contexts/unlabeled", "") })},
			[]string{"initial_contexts/unlabeled: expected a context"},
			[]string{"initial_contexts/unlabeled"},
		},
		{
			machine{"mounted, the server's context unknown", func(t *testing.T) Config {
				cfg := withKernel(builtin, nil)(t)
				cfg.ServerContext = "a:b:c:s0"
				return cfg
			}},
			[]string{"the server's own context", "--server-context"},
			[]string{"the server's own context", "--server-context"},
		},
		{
			machine{"hidden", unmounted("nodev\tproc\nnodev\tselinuxfs\n")},
			[]string{"SELinux is on here", "no selinuxfs is to be seen at", "mount it", choices},
			[]string{"SELinux is on here", "mount it", choices},
		},
		{
			machine{"hidden, and /proc too", unmounted("")},
			[]string{"SELinux is on here, as far as", choices},
			[]string{"SELinux is on here, as far as", choices},
		},
		{
			machine{"off", unmounted("nodev\tproc\nnodev\tsecurityfs\n\text4\n")},
			[]string{"built-in-policy"},
			[]string{"--mac=kernel needs SELinux", "SELinux is off here", choices},
		},
		{
			machine{"off, a file system of a similar name", unmounted("nodev\tselinuxfs2\n\txselinuxfs\n")},
			[]string{"built-in-policy"},
			[]string{"SELinux is off here"},
		},
	} {
		file := writeFile(t, "policy.bin", string(policy.Default()))
		for mode, want := range map[Mode][]string{Auto: c.auto, Kernel: c.kernel, PolicyFile: {"built-in-policy"}, Off: {"off"}} {
			for _, pol := range []string{"", file} {
				if pol != "" && mode == Kernel {
					continue // below
				}
				t.Run(fmt.Sprint(c.name, "/", mode, "/", pol != ""), func(t *testing.T) {
					cfg := c.make(t)
					cfg.Mode, cfg.PolicyFile, cfg.Log, cfg.AuditWriter = mode, pol, quiet(), new(text)
					if mode == PolicyFile {
						cfg.ServerContext = ""
					}
					m, err := Open(cfg)
					if len(want) == 1 && !strings.Contains(want[0], " ") && err == nil {
						defer m.Close()
						who := want[0]
						if pol != "" && who == "built-in-policy" {
							who = "policy-file"
						}
						got := ""
						m.Stats(func(n, v string) {
							if n == "mac_decider" {
								got = v
							}
						})
						if got != who {
							t.Errorf("%s decides, want %s", got, who)
						}
						if m.Enabled() != (mode != Off) {
							t.Errorf("enabled %v", m.Enabled())
						}
						return
					}
					var se *StartError
					if !errors.As(err, &se) || se.Code != 78 {
						t.Fatalf("error %v, want a refusal with code 78", err)
					}
					if m != nil {
						t.Error("a monitor in spite of the error")
					}
					for _, w := range want {
						if !strings.Contains(err.Error(), w) {
							t.Errorf("refusal\n%v\ndoes not say %q", err, w)
						}
					}
				})
			}
		}
	}
}

// What is asked for and cannot be had: none of it ends in a monitor.
func TestStartContradictions(t *testing.T) {
	file := writeFile(t, "policy.bin", string(policy.Default()))
	lacking := writeFile(t, "lacking.bin", string(renamed(t, "kv_server", "kv_servex")))
	short := writeFile(t, "short.bin", string(renamed(t, "append", "appenx")))
	bad := writeFile(t, "bad", "client *\n")
	unknown := writeFile(t, "unknown", "client * a:b:c:s0\n")
	off := unmounted("nodev\tproc\n")
	mounted := withKernel(builtin, nil)
	for _, c := range []struct {
		name string
		make func(t *testing.T) Config
		set  func(c *Config)
		want string
	}{
		{"no mode", off, func(c *Config) { c.Mode = 0 }, "expected a mode (auto, kernel, policy, off)"},
		{"no such mode", off, func(c *Config) { c.Mode = 9 }, "expected a mode"},
		{"peer labels of whom", off, func(c *Config) { c.PeerLabels = "yes" }, `--peer-labels: expected kernel, found "yes"`},
		{"peer labels without SELinux", off, func(c *Config) { c.Mode, c.PeerLabels = PolicyFile, "kernel" }, "--peer-labels=kernel needs SELinux"},
		{"the same, auto", off, func(c *Config) { c.Mode, c.PeerLabels = Auto, "kernel" }, "--peer-labels=kernel needs SELinux"},
		{"permissive kernel", mounted, func(c *Config) { c.Permissive = true }, "--permissive is for a policy file"},
		{"boolean of the kernel", mounted, func(c *Config) { c.Booleans = map[string]bool{"x": true} }, "--boolean is for a policy file"},
		{"kernel and a file", mounted, func(c *Config) { c.Mode, c.PolicyFile = Kernel, file }, "--policy and --mac=kernel contradict each other"},
		{"no such policy", off, func(c *Config) { c.Mode, c.PolicyFile = Auto, "/nonexistent/policy" }, "/nonexistent/policy"},
		{"no policy in the file", off, func(c *Config) { c.Mode, c.PolicyFile = Auto, "start_test.go" }, "start_test.go: policy: "},
		{"server context", off, func(c *Config) { c.Mode, c.ServerContext = Auto, "x" }, "choose one of the policy by --server-context"},
		{"a policy file without kv_server", off, func(c *Config) { c.Mode, c.PolicyFile = Auto, lacking }, "does not define kv_server"},
		{"the same, asked for", off, func(c *Config) { c.Mode, c.PolicyFile = PolicyFile, lacking }, "does not define kv_server"},
		{"the same, permissive", off, func(c *Config) { c.Mode, c.PolicyFile, c.Permissive = PolicyFile, lacking, true }, "does not define kv_server"},
		{"a policy file a permission short", off, func(c *Config) { c.Mode, c.PolicyFile = PolicyFile, short }, "does not define kv_item:append"},
		{"a boolean that the file has not", off, func(c *Config) { c.Mode, c.Booleans = PolicyFile, map[string]bool{"no_such": true} }, "no_such"},
		{"no contexts file", off, func(c *Config) { c.Mode, c.ContextsFile = Auto, "/nonexistent/contexts" }, "/nonexistent/contexts"},
		{"a bad contexts file", off, func(c *Config) { c.Mode, c.ContextsFile = Auto, bad }, bad + ":1:"},
		{"a contexts file with an unknown context", off, func(c *Config) { c.Mode, c.ContextsFile = Auto, unknown }, unknown + ":1:"},
		{"the same under a kernel", mounted, func(c *Config) { c.ContextsFile = unknown }, unknown + ":1:"},
		{"an audit log that cannot be opened", mounted, func(c *Config) { c.AuditWriter, c.AuditLog = nil, "/nonexistent/log" }, "audit log: "},
		{"a kernel whose state never settles", withKernel(builtin, func(k *fakeKernel) {
			k.seq = 3
			k.status()
		}), func(*Config) {}, "the kernel's SELinux state keeps changing"},
		{"few labels", off, func(c *Config) { c.Mode, c.MaxLabels = Auto, 1 }, "too many security contexts"},
	} {
		cfg := c.make(t)
		cfg.Log, cfg.AuditWriter = quiet(), new(text)
		c.set(&cfg)
		m, err := Open(cfg)
		var se *StartError
		if !errors.As(err, &se) || se.Code != ExitConfig || m != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a refusal that says %q", c.name, err, c.want)
		}
	}
}

func TestPolicyFileBesideAKernelIsToldOf(t *testing.T) {
	var log text
	cfg := withKernel(builtin, nil)(t)
	cfg.PolicyFile = writeFile(t, "policy.bin", string(policy.Default()))
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	open(t, cfg)
	if !strings.Contains(log.String(), "the policy file is not used") {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestOffDecidesNothing(t *testing.T) {
	m, err := Open(Config{Mode: Off, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	g := m.Generation()
	if m.Enabled() || g.Seq != 1 || g.Usable || g.Judge(avc.Decision{Allowed: ^avc.Perms(0)}, 1).Allowed {
		t.Errorf("generation %+v", g)
	}
	if s := m.Subject(g, unixPeer(0, 0)); s != 0 {
		t.Errorf("subject %d", s)
	}
	if d := m.Describe(); d != "access control is off (--mac=off)" {
		t.Error(d)
	}
	m.Audit(record("k", nil))
	m.SyncAudit()
	m.SetPermissive(true)
	m.SetLive(nothing)
	if err := m.Reload(); err != nil {
		t.Error(err)
	}
	if err := m.SetBooleans(map[string]bool{"kv_client_flush": true}); err == nil {
		t.Error("a boolean of nothing is set")
	}
	e := m.NewEpoch()
	e.Begin()
	e.Rest()
	e.Close()
	if n := m.Collect(); n != 0 {
		t.Errorf("collected %d", n)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestModes(t *testing.T) {
	for m, s := range map[Mode]string{Auto: "auto", Kernel: "kernel", PolicyFile: "policy", Off: "off"} {
		if got, err := ParseMode(s); got != m || err != nil || m.String() != s {
			t.Errorf("%s: %v, %v; %v prints %s", s, got, err, m, m)
		}
	}
	for _, s := range []string{"", "Auto", "on", "Mode(0)"} {
		if got, err := ParseMode(s); got != 0 || err == nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

// On this machine, whatever it is: the real /proc and /sys.
func TestRealMachine(t *testing.T) {
	cfg := Config{Mode: Auto, Log: quiet(), AuditWriter: new(text)}
	m, err := Open(cfg)
	switch found := cfg.look(); found {
	case selinuxOff:
		if err != nil {
			t.Fatal(err)
		}
		if m.decider != decidesBuiltin {
			t.Errorf("%v decides", m.decider)
		}
	case selinuxHidden:
		if err == nil {
			t.Error("SELinux is hidden, and the start is not refused")
		}
	}
	if m != nil {
		_ = m.Close()
	}
	// A socket pair has no label, or one of another security module, which no
	// subject is made of.
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if label, err := peerLabel(fds[0]); err == nil && !plausible(label) {
		t.Logf("another security module says %q", label)
	} else if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("%q, %v", label, err)
	}
	if _, err := peerLabel(-1); err == nil || errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("no socket at all: %v", err)
	}
}
