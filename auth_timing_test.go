package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"sememcached/server"
)

// timingSamples are taken of each of two kinds of attempt, by turns: whatever else the
// machine does meets both.
const timingSamples = 200

// TestLoginTiming: how long a refusal takes does not tell whether the user exists. The
// measure is the chance that a refusal of one kind takes longer than one of the
// other (Mann and Whitney's U): one half where nothing can be told. Of 200 samples each
// it lies within 0.5 ± 0.15 but for one time in 200,000; a server that does not hash for
// unknown users has 0 or 1 on a machine that does nothing else, as the control shows, where
// users differ in their hashes.
func TestLoginTiming(t *testing.T) {
	crypt, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	argon := fmt.Sprintf("$argon2id$v=19$m=1024,t=1,p=1$%s$%s", b64(salt), b64(argon2.IDKey([]byte("secret"), salt, 1, 1024, 1, 32)))
	for _, kind := range []struct{ name, entry string }{{"plain", "secret"}, {"bcrypt", string(crypt)}, {"argon2id", argon}} {
		var text strings.Builder
		for i := range 8 {
			fmt.Fprintf(&text, "user%d:%s\n", i, kind.entry)
		}
		wrong := func(i int) string { return fmt.Sprint("user", i%8) }
		for _, way := range []loginWay{saslWay, textWay} {
			t.Run(kind.name+", "+way.name, func(t *testing.T) {
				ts := way.start(t, text.String())
				unknown := func(i int) string { return fmt.Sprint("none", i%8) }
				odds, a, b := compareLogins(ts, way, 1, unknown, wrong)
				if odds < 0.35 || odds > 0.65 { // once more: the machine may have had a bad moment
					odds, a, b = compareLogins(ts, way, 2, unknown, wrong)
				}
				t.Logf("unknown users median %v, wrong passwords median %v; an unknown user takes longer with probability %.3f", a, b, odds)
				if odds < 0.35 || odds > 0.65 {
					t.Error("the time tells whether a user exists")
				}
				if kind.name == "plain" {
					return
				}
				ts = way.start(t, text.String()+"plain:secret\n")
				odds, a, b = compareLogins(ts, way, 1, func(int) string { return "plain" }, wrong)
				if odds > 0.3 {
					odds, a, b = compareLogins(ts, way, 2, func(int) string { return "plain" }, wrong)
				}
				if odds > 0.3 {
					t.Errorf("the control: plain median %v, %s median %v, probability %.3f: the measurement sees nothing", a, kind.name, b, odds)
				}
			})
		}
	}
}

// loginWay is one of the ways to authenticate.
type loginWay struct {
	name     string
	settings func(users string) server.Settings
	attempt  func(user string) string // with a wrong password
	refused  func(r *bufio.Reader) bool
}

var (
	saslWay = loginWay{
		"SASL",
		func(users string) server.Settings { return server.Settings{SASL: true, SASLUsers: users} },
		func(user string) string { return plainAuth(1, user, "sesame") },
		func(r *bufio.Reader) bool { return reply(r) == "1 0x20 Auth failure." },
	}
	textWay = loginWay{
		"auth file",
		func(users string) server.Settings { return server.Settings{AuthFile: users} },
		func(user string) string { return fmt.Sprintf("set x 0 0 %d\r\n%s sesame\r\n", len(user)+7, user) },
		func(r *bufio.Reader) bool {
			line, _ := r.ReadString('\n')
			return line == "CLIENT_ERROR authentication failure\r\n"
		},
	}
)

// start runs a server with a file of users.
func (w loginWay) start(t *testing.T, users string) *testServer {
	file := filepath.Join(t.TempDir(), "users")
	writeFile(t, file, users)
	return startServer(t, testConfig{server: w.settings(file)})
}

// compareLogins measures attempts of a's and b's names by turns, over connections from as
// many addresses as are needed to stay below the limit on failures; net makes them new
// ones. odds is the probability that one of a takes longer than one of b.
func compareLogins(ts *testServer, w loginWay, net int, a, b func(i int) string) (odds float64, medianA, medianB time.Duration) {
	ts.t.Helper()
	var as, bs []time.Duration
	var c *client
	for i := range timingSamples {
		if i%8 == 0 { // 16 failures: no address reaches its limit of 20
			if c != nil {
				c.Close()
			}
			c = ts.dialFrom(fmt.Sprintf("127.0.%d.%d", 10+net, 1+i/8))
		}
		one := func(name string) time.Duration {
			begin := time.Now()
			if _, err := io.WriteString(c, w.attempt(name)); err != nil {
				ts.t.Fatal(err)
			}
			if !w.refused(c.r) {
				ts.t.Fatalf("%s: not refused", name)
			}
			return time.Since(begin)
		}
		if i%2 == 0 {
			as = append(as, one(a(i)))
			bs = append(bs, one(b(i)))
		} else {
			bs = append(bs, one(b(i)))
			as = append(as, one(a(i)))
		}
	}
	slices.Sort(as)
	slices.Sort(bs)
	wins := 0.0
	for _, x := range as {
		below, equal := slices.BinarySearch(bs, x)
		wins += float64(below)
		if equal {
			wins += 0.5
		}
	}
	return wins / float64(len(as)*len(bs)), as[len(as)/2], bs[len(bs)/2]
}
