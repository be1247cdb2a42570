package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A file of users has a line for each:
//
//	name:password
//	name:$2b$12$...                                   bcrypt
//	name:$argon2id$v=19$m=65536,t=3,p=4$salt$hash     argon2id, in PHC form
//
// In the file of -S whatever follows a second ':' is ignored, and so are lines without
// one; in that of -Y the password is the whole rest of the line, and each line has to
// have one: all as in memcached. A name may have several lines: each of its passwords is right.
//
// There is no way to tell from the time an attempt takes whether the user exists:
// for one that does not, the passwords of one that does are checked, chosen by a
// keyed hash of the name, and the result is thrown away. The key is as old as the
// process, and a user more or less changes the choice only for the names whose
// hashes are next to its own: who does not exist is not betrayed by what changes when
// the file is read again.

// Bounds of a file of users.
const (
	maxUsersFile  = 16 << 20
	maxUserLine   = 1024    // bytes
	maxPasswords  = 4       // of one user
	maxArgonKiB   = 1 << 17 // memory of one argon2id check
	maxArgonTime  = 16      // passes
	maxArgonLanes = 64
	maxBcryptCost = 16 // four seconds
	maxPlaces     = 8  // named in a warning
)

// users is one reading of a file. It is immutable.
type users struct {
	byName map[string][]password
	ring   []standIn // every name, by digest
	blanks []string  // lines of -Y that let nobody in
	cuts   []string  // lines of -S whose passwords are shorter than they look
	others []string  // lines of -S that are not name:password
	id     fileID    // of the file, from before it was read
	secret loginKey  // keys the choice of a stand-in, and the digests of plain passwords
}

// loginKey keys digests. It stays the same when the file is read again.
type loginKey [32]byte

// standIn is a user whose passwords are checked for those who do not exist and whose
// digests are after that of the user before, and not after this one's own.
type standIn struct {
	digest [sha256.Size]byte
	name   string
}

// newLoginKey draws a key.
func newLoginKey() (k loginKey, err error) {
	_, err = rand.Read(k[:])
	return k, err
}

// password is one that lets a user in.
type password struct {
	plain  [sha256.Size]byte // of the password, under users.secret
	bcrypt []byte
	argon  *argonHash
}

type argonHash struct {
	time, memory uint32
	lanes        uint8
	salt, hash   []byte
}

// readUsers reads a file. The texts of its errors are memcached's.
func readUsers(file string, sasl bool, key loginKey) (*users, error) {
	id := identify(file)
	f, err := os.Open(file)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the file is named already
		}
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: the user that the server runs as (-u) has to be able to read it", err)
		}
		return nil, authErrorf("Could not open authfile [%s] for reading, error %w", file, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("authfile [%s]: %w", file, err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxUsersFile {
		return nil, fmt.Errorf("authfile [%s]: expected a regular file of at most %d bytes, found %v of %d", file, maxUsersFile, fi.Mode().Type(), fi.Size())
	}
	text := make([]byte, fi.Size())
	n, err := f.ReadAt(text, 0)
	if n < len(text) {
		return nil, fmt.Errorf("authfile [%s]: %w", file, err)
	}
	u := &users{byName: make(map[string][]password), id: id, secret: key}
	no := 0
	for line := range strings.Lines(string(text)) {
		no++
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		if sasl && !strings.Contains(line, ":") {
			u.others = append(u.others, fmt.Sprintf("%s:%d", file, no))
			continue
		}
		if err := u.add(line, sasl); err != nil {
			return nil, authErrorf("Authfile [%s] has a malformed entry. Should be 'user:password' (line %d: %w)", file, no, err)
		}
		switch {
		case !sasl && strings.Contains(line, " "):
			u.blanks = append(u.blanks, fmt.Sprintf("%s:%d", file, no))
		case sasl && strings.Count(line, ":") > 1:
			u.cuts = append(u.cuts, fmt.Sprintf("%s:%d", file, no))
		}
	}
	if len(u.ring) == 0 {
		return nil, fmt.Errorf("authfile [%s]: expected at least one user, found none", file)
	}
	slices.SortFunc(u.ring, func(a, b standIn) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	return u, nil
}

// warn says which lines do not let in whom they seem to, as in memcached.
func (u *users) warn(log *slog.Logger) {
	for _, d := range []struct {
		places []string
		why    string
	}{
		{u.blanks, "nobody can log in by these lines of the users' file, as in memcached: a name and a password end at a blank in the text protocol"},
		{u.others, "these lines of the users' file are ignored, as in memcached with -S: expected name:password"},
		{u.cuts, "the passwords in these lines of the users' file end at their ':', as in memcached with -S: what follows is ignored"},
	} {
		if n := len(d.places); n > maxPlaces {
			log.Warn(fmt.Sprintf("%s: %s and %d more", d.why, strings.Join(d.places[:maxPlaces], ", "), n-maxPlaces))
		} else if n > 0 {
			log.Warn(d.why + ": " + strings.Join(d.places, ", "))
		}
	}
}

// authErrorf is an error in memcached's words, which begin with a capital.
func authErrorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func (u *users) add(line string, sasl bool) error {
	name, secret, ok := strings.Cut(line, ":")
	if sasl {
		secret, _, _ = strings.Cut(secret, ":")
	}
	switch {
	case len(line) > maxUserLine:
		return fmt.Errorf("expected at most %d bytes, found %d", maxUserLine, len(line))
	case !ok || name == "" || secret == "":
		return fmt.Errorf("expected a name, ':' and a password")
	case len(u.byName[name]) == maxPasswords:
		return fmt.Errorf("expected at most %d passwords of one user", maxPasswords)
	}
	var p password
	var err error
	switch {
	case strings.HasPrefix(secret, "$2a$"), strings.HasPrefix(secret, "$2b$"), strings.HasPrefix(secret, "$2y$"):
		var cost int
		if cost, err = bcrypt.Cost([]byte(secret)); err == nil && cost > maxBcryptCost {
			err = fmt.Errorf("expected a bcrypt cost of at most %d, found %d", maxBcryptCost, cost)
		}
		p.bcrypt = []byte(secret)
	case strings.HasPrefix(secret, "$argon2"):
		p.argon, err = parseArgon(secret)
	default:
		p.plain = u.digest(secret)
	}
	if err != nil {
		return err
	}
	if u.byName[name] == nil {
		u.ring = append(u.ring, standIn{u.digest(name), name})
	}
	u.byName[name] = append(u.byName[name], p)
	return nil
}

// parseArgon reads $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH.
func parseArgon(s string) (*argonHash, error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[1] != "argon2id" || f[2] != "v=19" {
		return nil, fmt.Errorf("expected $argon2id$v=19$m=...,t=...,p=...$salt$hash")
	}
	h := &argonHash{}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); n != 3 || err != nil {
		return nil, fmt.Errorf("expected m=...,t=...,p=..., found %q", f[3])
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	h.hash, err2 = base64.RawStdEncoding.DecodeString(f[5])
	switch {
	case err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.hash) < 16 || len(h.hash) > 64:
		return nil, fmt.Errorf("expected a salt of 8 bytes or more and a hash of 16 to 64, in base64")
	case h.memory < 8 || h.memory > maxArgonKiB, h.time < 1 || h.time > maxArgonTime, h.lanes < 1 || h.lanes > maxArgonLanes:
		return nil, fmt.Errorf("expected m from 8 to %d KiB, t up to %d and p up to %d, found %s", maxArgonKiB, maxArgonTime, maxArgonLanes, f[3])
	}
	return h, nil
}

func (u *users) digest(s string) (d [sha256.Size]byte) {
	m := hmac.New(sha256.New, u.secret[:])
	m.Write([]byte(s))
	m.Sum(d[:0])
	return d
}

// find returns the passwords to check for a name, and whether it exists; if it
// does not, they are somebody else's.
func (u *users) find(name string) (ps []password, exists bool) {
	d := u.digest(name) // computed for everybody
	i, _ := slices.BinarySearchFunc(u.ring, d[:], func(s standIn, d []byte) int { return bytes.Compare(s.digest[:], d) })
	other := u.byName[u.ring[i%len(u.ring)].name]
	if ps, exists = u.byName[name]; exists {
		return ps, true
	}
	return other, false
}

// verify says whether secret is a password of the user. It takes up to seconds
// and the memory of an argon2id line; every password of the user is looked at,
// also after one was right.
func (u *users) verify(name, secret string) bool {
	ps, exists := u.find(name)
	good := 0
	for i := range ps {
		good |= ps[i].matches(u, secret)
	}
	return good == 1 && exists
}

// matches is 1 if secret is the password, in a time that does not depend on how
// much of it is right.
func (p *password) matches(u *users, secret string) int {
	switch {
	case p.bcrypt != nil:
		if bcrypt.CompareHashAndPassword(p.bcrypt, []byte(secret)) == nil {
			return 1
		}
		return 0
	case p.argon != nil:
		h := p.argon
		key := argon2.IDKey([]byte(secret), h.salt, h.time, h.memory, h.lanes, uint32(len(h.hash)))
		return subtle.ConstantTimeCompare(key, h.hash)
	}
	d := u.digest(secret)
	return subtle.ConstantTimeCompare(d[:], p.plain[:])
}
