package mac

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/policy"
)

// fakeKernel is a selinuxfs in a directory, with a policy of ours behind it. The
// files that are only read are plain files; the transactions go to transact. It
// behaves as seen on Linux 6.1.
type fakeKernel struct {
	t    testing.TB
	root string
	proc string

	mu      sync.Mutex
	pol     *policy.Policy
	seqno   uint32
	seq     uint32
	mode    uint32
	broken  error                                // every transaction fails so
	queries map[string]int                       // by file
	before  func(name string, in string)         // called before a transaction, without the lock
	after   func(name string, in string)         // and after it
	answer  func(name, in string) ([]byte, bool) // instead of the policy
	names   []string                             // object names as they arrived
}

func newFakeKernel(t testing.TB, b []byte) *fakeKernel {
	k := &fakeKernel{t: t, root: t.TempDir(), proc: t.TempDir(), mode: 1, queries: map[string]int{}}
	k.write("policyvers", "33")
	k.write("deny_unknown", "1")
	k.write("reject_unknown", "0")
	k.write("enforce", "1")
	writeFile(t, filepath.Join(k.proc, "filesystems"), "nodev\tsysfs\nnodev\tselinuxfs\n\text4\n")
	k.install(b)
	k.seq = 0
	k.status()
	return k
}

func (k *fakeKernel) write(name, content string) {
	name = filepath.Join(k.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// status writes the page in place: it is mapped.
func (k *fakeKernel) status() {
	var b [20]byte
	for i, v := range []uint32{1, k.seq, k.mode, k.seqno, 1} {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	f, err := os.OpenFile(filepath.Join(k.root, "status"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	// The sequence last, as the kernel does.
	if _, err := f.WriteAt(b[8:], 8); err != nil {
		k.t.Fatal(err)
	}
	if _, err := f.WriteAt(b[:8], 0); err != nil {
		k.t.Fatal(err)
	}
}

// install puts a policy into force, and does not move the status page.
func (k *fakeKernel) install(b []byte) {
	p, err := policy.Read(b)
	if err != nil {
		k.t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := os.RemoveAll(filepath.Join(k.root, "class")); err != nil {
		k.t.Fatal(err)
	}
	k.write("class/process/index", "1")
	for _, class := range []string{"kv_item", "kv_server"} {
		c, ok := p.Class(class)
		if !ok {
			continue
		}
		k.write("class/"+class+"/index", fmt.Sprint(uint16(c)))
		for i, name := range p.PermNames(c, ^policy.AV(0)) {
			_ = i
			av, _ := p.Perm(c, name)
			bit := 1
			for ; av>>bit != 0; bit++ {
			}
			k.write("class/"+class+"/perms/"+name, fmt.Sprint(bit))
		}
	}
	u, ok := p.InitialContext("unlabeled")
	ctx := "u:object_r:item_t:s0" // kinds.cil has none, a kernel's policy always does
	if ok {
		ctx = u.String()
	}
	k.write("initial_contexts/unlabeled", ctx+"\x00")
	k.write("policy", string(b))
	k.pol = p
	k.seqno++
}

// announce moves the status page.
func (k *fakeKernel) announce() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seq += 2
	k.status()
}

func (k *fakeKernel) load(b []byte) {
	k.install(b)
	k.announce()
}

func (k *fakeKernel) setBool(name string, on bool) {
	k.mu.Lock()
	p, err := k.pol.WithBooleans(map[string]bool{name: on})
	if err != nil {
		k.mu.Unlock()
		k.t.Error(err)
		return
	}
	k.pol = p
	k.seqno++
	k.mu.Unlock()
	k.announce()
}

func (k *fakeKernel) setenforce(on uint32) {
	k.mu.Lock()
	k.mode = on
	k.mu.Unlock()
	k.announce()
}

func (k *fakeKernel) breakIt(err error) {
	k.mu.Lock()
	k.broken = err
	k.mu.Unlock()
}

func (k *fakeKernel) asked(name string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.queries[name]
}

func (k *fakeKernel) transact(name string, in []byte, reply bool) ([]byte, error) {
	if k.before != nil {
		k.before(name, string(in))
	}
	out, err := k.answerTo(name, string(in))
	if k.after != nil {
		k.after(name, string(in))
	}
	if err != nil {
		return nil, &os.PathError{Op: "write", Path: filepath.Join(k.root, name), Err: err}
	}
	return out, nil
}

func (k *fakeKernel) answerTo(name, in string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queries[name]++
	if k.broken != nil {
		return nil, k.broken
	}
	if k.answer != nil {
		if out, ok := k.answer(name, in); ok {
			return out, nil
		}
	}
	if len(in) >= 4096 {
		return nil, unix.EFBIG
	}
	f := strings.Split(in, " ")
	if name == "context" {
		c, err := k.pol.CanonicalContext(in)
		if err != nil {
			return nil, unix.EINVAL
		}
		return []byte(c + "\x00"), nil
	}
	s, err1 := k.pol.ParseContext(f[0])
	o, err2 := k.pol.ParseContext(f[1])
	if err1 != nil || err2 != nil {
		return nil, unix.EINVAL
	}
	var class policy.Class
	if _, err := fmt.Sscan(f[2], &class); err != nil {
		return nil, unix.EINVAL
	}
	switch name {
	case "access":
		d := k.pol.ComputeAV(s, o, class)
		flags := 0
		if d.Permissive {
			flags = 1
		}
		return fmt.Appendf(nil, "%x %x %x %x %d %x", uint32(d.Allowed), uint32(0xffffffff), uint32(d.AuditAllow), uint32(d.AuditDeny), k.seqno, flags), nil
	case "create", "member", "relabel":
		object := ""
		if len(f) > 3 {
			k.names = append(k.names, f[3])
			var err error
			if object, err = url.QueryUnescape(f[3]); err != nil {
				return nil, unix.EINVAL
			}
		}
		var c policy.Context
		var err error
		switch name {
		case "create":
			c, err = k.pol.ComputeCreate(s, o, class, object)
		case "member":
			c, err = k.pol.ComputeMember(s, o, class)
		case "relabel":
			c, err = k.pol.ComputeRelabel(s, o, class)
		}
		if err != nil {
			return nil, unix.EACCES
		}
		return []byte(c.String() + "\x00"), nil
	case "validatetrans":
		task, err := k.pol.ParseContext(f[3])
		if err != nil {
			return nil, unix.EINVAL
		}
		if !k.pol.ValidateTrans(s, o, task, class) {
			return nil, unix.EPERM
		}
		return nil, nil
	}
	return nil, errors.ErrUnsupported
}

// openKernel opens a monitor over k.
func (k *fakeKernel) config(cfg Config) Config {
	if cfg.Mode == 0 {
		cfg.Mode = Kernel
	}
	cfg.SELinuxFS, cfg.ProcRoot, cfg.transact = k.root, k.proc, k.transact
	if cfg.ServerContext == "" {
		cfg.ServerContext = DefaultServerContext
	}
	return cfg
}

func (k *fakeKernel) open(cfg Config) *Monitor { return open(k.t, k.config(cfg)) }

// ask does what a worker does: it asks again when the state has moved.
func (m *Monitor) ask(t testing.TB, e *Epoch, q Question) (*Generation, Answer) {
	t.Helper()
	for range 50 {
		g := e.Begin()
		a, ok := m.Cached(g, q)
		if !ok {
			var w answers
			w.ask(m, g, q, 1)
			done := make(chan struct{})
			go func() { w.wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("no answer to %+v", q)
			}
			a = w.got[0]
		}
		if a.Seq == g.Seq {
			return g, a
		}
	}
	t.Fatalf("%+v is never answered", q)
	return nil, Answer{}
}
