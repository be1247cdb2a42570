package server_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"sememcached/server"
)

// hashes are entries of a file of users whose password is "right".
func hashes(t *testing.T) (plain, crypt, argon string) {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	key := argon2.IDKey([]byte("right"), salt, 1, 64, 1, 32)
	return "right", string(b), fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", b64(salt), b64(key))
}

func readUsersText(t *testing.T, text string) *server.Users {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := server.ReadUsers(file, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUnknownUserWork: for a user who does not exist exactly the work is done that
// is done for one who does: the checks, their number and their parameters. It is the
// same work each time, and every kind of user has its share of the unknown ones.
func TestUnknownUserWork(t *testing.T) {
	plain, crypt, argon := hashes(t)
	lines := map[string][]string{
		"p": {plain}, "b": {crypt}, "a": {argon}, "pp": {plain, "other"}, "ba": {crypt, argon}, "bbb": {crypt, crypt, crypt},
	}
	var text strings.Builder
	works := map[string]int{} // what is done for those who exist
	for kind, passwords := range lines {
		for i := range 20 {
			for _, p := range passwords {
				fmt.Fprintf(&text, "%s%d:%s\n", kind, i, p)
			}
		}
	}
	u := readUsersText(t, text.String())
	for kind := range lines {
		checks, exists := u.Work(kind + "7")
		if !exists || len(checks) != len(lines[kind]) {
			t.Errorf("%s7: %v, %v", kind, checks, exists)
		}
		works[fmt.Sprint(checks)] = 0
		if !u.Verify(kind+"7", "right") || u.Verify(kind+"7", "wrong") {
			t.Errorf("%s7: a right password is refused, or a wrong one taken", kind)
		}
	}
	for i := range 3000 {
		name := fmt.Sprint("nobody", i)
		checks, exists := u.Work(name)
		again, _ := u.Work(name)
		if _, known := works[fmt.Sprint(checks)]; exists || !known || !slices.Equal(checks, again) {
			t.Fatalf("%s: %v, then %v, exists %v", name, checks, again, exists)
		}
		works[fmt.Sprint(checks)]++
	}
	for work, n := range works {
		if n < 3000/len(works)/4 {
			t.Errorf("%d of 3000 unknown users cost %s, expected a share of about %d", n, work, 3000/len(works))
		}
	}
	// The password of the stand-in lets nobody in.
	for i := range 50 {
		if u.Verify(fmt.Sprint("nobody", i), "right") {
			t.Fatalf("nobody%d is let in", i)
		}
	}
}

// TestUnknownUserStays: when a user is added, what is done for those who do not exist
// changes for few of them: it must not be a sign of not existing.
func TestUnknownUserStays(t *testing.T) {
	plain, crypt, _ := hashes(t)
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "p%d:%s\nb%d:%s\n", i, plain, i, crypt)
	}
	before := readUsersText(t, text.String())
	after := readUsersText(t, text.String()+"new:"+crypt+"\n")
	changed := 0
	for i := range 2000 {
		name := fmt.Sprint("nobody", i)
		a, _ := before.Work(name)
		b, _ := after.Work(name)
		if !slices.Equal(a, b) {
			changed++
		}
	}
	if changed > 100 { // about 5 are expected
		t.Errorf("one user more changes the work for %d of 2000 unknown ones", changed)
	}
}

// TestUsersThatCannotLogIn: a line that lets nobody in is told of, and does not
// keep the others out.
func TestUsersThatCannotLogIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("alice:pw\nbob:two words\nal ice:pw\ncarol:a:b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(set server.Settings) string {
		var said bytes.Buffer
		if err := server.CheckAuth(&set, slog.New(slog.NewTextHandler(&said, nil))); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	if said := check(server.Settings{AuthFile: file}); !strings.Contains(said, file+":2, "+file+":3") {
		t.Errorf("-Y: expected lines 2 and 3 to be named, found %q", said)
	}
	if said := check(server.Settings{SASL: true, SASLUsers: file}); !strings.Contains(said, "ignored: "+file+":4") || strings.Contains(said, file+":2") {
		t.Errorf("-S, whose PLAIN has blanks: expected line 4 to be named, found %q", said)
	}
	set := server.Settings{AuthFile: filepath.Join(filepath.Dir(file), "absent")}
	if err := server.CheckAuth(&set, slog.New(slog.DiscardHandler)); err == nil || !strings.HasSuffix(err.Error(), "for reading, error no such file or directory") {
		t.Errorf("an absent file: %v", err)
	}
}

// TestUsersFileIsAbsolute: a daemon reads it again from another directory.
func TestUsersFileIsAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("MEMCACHED_SASL_PWDB", "users")
	if got := server.SASLUsersFromEnv(); got != filepath.Join(dir, "users") {
		t.Errorf("expected %s, found %s", filepath.Join(dir, "users"), got)
	}
	t.Setenv("MEMCACHED_SASL_PWDB", "")
	if got := server.SASLUsersFromEnv(); got != "" {
		t.Errorf("expected none, found %s", got)
	}
}
