package mac

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sememcached/avc"
)

// selinuxfs asks the kernel's security server through its file system
// (security/selinux/selinuxfs.c). A question is one write to a freshly opened
// file and the reply one read from it: an open file takes no second write.
type selinuxfs struct {
	root string
	// transact writes in to the file name and returns what it then reads; for
	// a file that is only written, reply is false. Tests put a kernel of their
	// own here: plain files cannot do this.
	transact func(name string, in []byte, reply bool) ([]byte, error)
}

func openSELinuxFS(root string) *selinuxfs {
	fs := &selinuxfs{root: root}
	fs.transact = fs.file
	return fs
}

// replyMax is a page, the most that a reply can be.
const replyMax = 4096

func (fs *selinuxfs) file(name string, in []byte, reply bool) ([]byte, error) {
	mode := os.O_WRONLY
	if reply {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(filepath.Join(fs.root, name), mode, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(in); err != nil {
		return nil, err
	}
	if !reply {
		return nil, nil
	}
	out := make([]byte, replyMax)
	n, err := f.Read(out)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

// read is a small file's content without the NUL or newline that may end it.
func (fs *selinuxfs) read(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(fs.root, name))
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(b, "\x00\n")), nil
}

// number is a file that holds a number.
func (fs *selinuxfs) number(name string) (uint64, error) {
	s, err := fs.read(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: expected a number, found %q", filepath.Join(fs.root, name), s)
	}
	return n, nil
}

// mapping looks up our classes and permissions. Only a name that is not there is
// missing: a file that cannot be read is an error.
func (fs *selinuxfs) mapping() (*mapping, []string, error) {
	var failure error
	note := func(err error) {
		if err != nil && !errors.Is(err, os.ErrNotExist) && failure == nil {
			failure = err
		}
	}
	m, missing := newMapping(
		func(class string) (uint16, bool) {
			n, err := fs.number("class/" + class + "/index")
			note(err)
			return uint16(n), err == nil && n > 0 && n < 1<<16
		},
		func(_ uint16, class, name string) (uint32, bool) {
			n, err := fs.number("class/" + class + "/perms/" + name)
			note(err)
			if err != nil || n < 1 || n > 32 {
				return 0, false
			}
			return 1 << (n - 1), true
		})
	if failure == nil && len(missing) > 0 {
		// Nothing there at all is no policy without our classes, but no
		// selinuxfs.
		_, err := os.Stat(filepath.Join(fs.root, "class"))
		failure = err
	}
	return m, missing, failure
}

// vector is the reply of access.
type vector struct {
	allowed, auditAllow, auditDeny uint32
	seqno                          uint32
	permissive                     bool
}

// access is security_compute_av_flags. An invalid context is unix.EINVAL.
func (fs *selinuxfs) access(scontext, tcontext string, class uint16) (vector, error) {
	// The kernel wants a fourth number only from old clients: requested.
	b, err := fs.transact("access", fmt.Appendf(nil, "%s %s %d ffffffff", scontext, tcontext, class), true)
	if err != nil {
		return vector{}, err
	}
	f := strings.Fields(string(bytes.TrimRight(b, "\x00\n")))
	if len(f) != 6 {
		return vector{}, fmt.Errorf("selinuxfs: access: expected six numbers, found %q", b)
	}
	var n [6]uint32
	for i, base := range [6]int{16, 16, 16, 16, 10, 16} { // allowed decided auditallow auditdeny seqno flags
		v, err := strconv.ParseUint(f[i], base, 32)
		if err != nil {
			return vector{}, fmt.Errorf("selinuxfs: access: expected six numbers, found %q", b)
		}
		n[i] = uint32(v)
	}
	// What the kernel has not decided is not allowed. (It always decides all.)
	return vector{n[0] & n[1], n[2], n[3], n[4], n[5]&1 != 0}, nil
}

// computation is a file that computes a context for a pair of contexts and a
// class: the three take the same question.
type computation string

const (
	computeCreate  computation = "create"  // security_transition_sid_user
	computeMember  computation = "member"  // security_member_sid
	computeRelabel computation = "relabel" // security_change_sid
)

// compute asks one of them. name is an object name, "" for none; only create
// takes one.
func (fs *selinuxfs) compute(what computation, scontext, tcontext string, class uint16, name string) (string, error) {
	in := fmt.Appendf(nil, "%s %s %d", scontext, tcontext, class)
	if name != "" {
		in = appendObjectName(append(in, ' '), name)
	}
	return fs.contextReply(string(what), in)
}

// context checks a context and returns its canonical form.
func (fs *selinuxfs) context(ctx string) (string, error) {
	return fs.contextReply("context", []byte(ctx))
}

func (fs *selinuxfs) contextReply(name string, in []byte) (string, error) {
	b, err := fs.transact(name, in, true)
	if err != nil {
		return "", err
	}
	s := string(bytes.TrimRight(b, "\x00"))
	if !plausible(s) {
		return "", fmt.Errorf("selinuxfs: %s: expected a context, found %q", name, b)
	}
	return s, nil
}

// validatetrans is security_validate_transition_user: unix.EPERM forbids.
func (fs *selinuxfs) validatetrans(oldContext, newContext, task string, class uint16) error {
	_, err := fs.transact("validatetrans", fmt.Appendf(nil, "%s %s %d %s", oldContext, newContext, class, task), false)
	return err
}

// appendObjectName encodes a name as the kernel decodes it: + is a blank and %XX
// is a byte. Whatever is not a plain letter or digit is encoded.
func appendObjectName(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// kernelPolicy decides by the kernel, in one generation: it refuses answers of
// any other state of the kernel.
type kernelPolicy struct {
	*mapping
	fs        *selinuxfs
	page      *statusPage
	status    uint32
	seqno     uint32
	server    string
	unlabeled string
	policy    wholePolicy // for explanations
}

// current reports whether an answer that came with seqno, or before now,
// belongs to this generation. The kernel puts a policy into force before it moves
// the status page, so both are looked at.
func (k *kernelPolicy) current(seqno uint32) error {
	if seqno != k.seqno || k.page.sequence() != k.status {
		return ErrStale
	}
	return nil
}

// probe is for questions whose replies have no sequence number: the one in
// force now.
func (k *kernelPolicy) probe() (uint32, error) {
	v, err := k.fs.access(k.server, k.server, k.class[avc.ClassServer])
	return v.seqno, err
}

func (k *kernelPolicy) stillCurrent() error {
	n, err := k.probe()
	if err != nil {
		return err
	}
	return k.current(n)
}

// known is ctx, or unlabeled if the kernel does not know it.
func (k *kernelPolicy) known(ctx string) (string, error) {
	_, err := k.fs.context(ctx)
	if invalid(err) {
		return k.unlabeled, nil
	}
	return ctx, err
}

// knownAll does so for several.
func (k *kernelPolicy) knownAll(ctx ...*string) error {
	for _, c := range ctx {
		var err error
		if *c, err = k.known(*c); err != nil {
			return err
		}
	}
	return nil
}

// invalid tells a context that the policy does not know from other trouble. A
// page is the most that a question can be.
func invalid(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EFBIG)
}

func (k *kernelPolicy) Access(s, t string, c avc.Class) (avc.Decision, error) {
	v, err := k.fs.access(s, t, k.class[c])
	if invalid(err) {
		if err = k.knownAll(&s, &t); err == nil {
			v, err = k.fs.access(s, t, k.class[c])
		}
	}
	if err != nil {
		return avc.Decision{}, k.failed(err)
	}
	if err := k.current(v.seqno); err != nil {
		return avc.Decision{}, err
	}
	return avc.Decision{
		Allowed:    k.perms(c, v.allowed),
		AuditAllow: k.perms(c, v.auditAllow),
		AuditDeny:  k.perms(c, v.auditDeny),
		Permissive: v.permissive,
	}, nil
}

// failed is err, or ErrStale if the kernel's state has moved: then the reason
// lies there.
func (k *kernelPolicy) failed(err error) error {
	if k.page.sequence() != k.status {
		return ErrStale
	}
	return err
}

func (k *kernelPolicy) Create(s, t string, c avc.Class, name string) (string, error) {
	return k.compute(computeCreate, s, t, c, name)
}

func (k *kernelPolicy) Member(s, t string, c avc.Class) (string, error) {
	return k.compute(computeMember, s, t, c, "")
}

func (k *kernelPolicy) Relabel(s, t string, c avc.Class) (string, error) {
	return k.compute(computeRelabel, s, t, c, "")
}

func (k *kernelPolicy) compute(what computation, s, t string, c avc.Class, name string) (string, error) {
	ctx, err := k.fs.compute(what, s, t, k.class[c], name)
	if invalid(err) {
		if err = k.knownAll(&s, &t); err == nil {
			ctx, err = k.fs.compute(what, s, t, k.class[c], name)
		}
	}
	if err != nil {
		return "", k.failed(err)
	}
	return ctx, k.stillCurrent()
}

func (k *kernelPolicy) Canonical(ctx string) (string, error) {
	c, err := k.fs.context(ctx)
	if err != nil && !invalid(err) {
		return "", k.failed(err)
	}
	if err := k.stillCurrent(); err != nil {
		return "", err
	}
	if err != nil {
		return "", ErrInvalidContext
	}
	return c, nil
}

func (k *kernelPolicy) Transition(o, n, task string, c avc.Class) error {
	err := k.fs.validatetrans(o, n, task, k.class[c])
	if invalid(err) {
		if err = k.knownAll(&o, &n, &task); err == nil {
			err = k.fs.validatetrans(o, n, task, k.class[c])
		}
	}
	if err != nil && !errors.Is(err, unix.EPERM) {
		return k.failed(err)
	}
	if err := k.stillCurrent(); err != nil {
		return err
	}
	if err != nil {
		return ErrRefused
	}
	return nil
}
