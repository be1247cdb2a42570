package unit_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/policy"
	"sememcached/policy/unit"
)

func defaultPolicy(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Read(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// label is what the built-in policy gives, and an error for the key "none".
func label(t *unit.Test) (string, error) {
	if t.Key == "none" {
		return "", errors.New("no label")
	}
	return "system_u:object_r:kv_item_t:s0", nil
}

// TestUnit runs testdata: each block is a test file, written as its first
// word says: tap, junit, json, or tests for what the lines mean.
func TestUnit(t *testing.T) {
	p := defaultPolicy(t)
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s, err := unit.Parse("my.test", d.Input)
			if err != nil {
				return err.Error()
			}
			if d.Cmd == "tests" {
				return list(s)
			}
			rs, err := s.Run(p, label, nil)
			if err != nil {
				return err.Error()
			}
			var out strings.Builder
			r := unit.NewReport("the built-in policy", rs)
			switch d.Cmd {
			case "tap":
				err = r.WriteTAP(&out)
			case "junit":
				err = r.WriteJUnit(&out)
				if x := xml.Unmarshal([]byte(out.String()), new(struct{})); x != nil {
					t.Errorf("expected XML that can be read, found %v", x)
				}
			case "json":
				err = r.WriteJSON(&out)
				var again unit.Report
				if x := json.Unmarshal([]byte(out.String()), &again); x != nil || again.Failed != r.Failed || len(again.Results) != len(r.Results) {
					t.Errorf("expected JSON that holds the report, found %+v, %v", again, x)
				}
			default:
				t.Fatalf("unknown command %q", d.Cmd)
			}
			if err != nil {
				t.Fatal(err)
			}
			return out.String()
		})
	})
}

func list(s *unit.Suite) string {
	var out strings.Builder
	for i := range s.Tests {
		k := &s.Tests[i]
		fmt.Fprintf(&out, "%d: %s", k.Line, k)
		if k.Booleans != nil {
			fmt.Fprintf(&out, " %v", k.Booleans)
		}
		if k.Contexts+k.Server != "" {
			fmt.Fprintf(&out, " (%s %s)", k.Contexts, k.Server)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// TestSteps: a caller hears of every test.
func TestSteps(t *testing.T) {
	s, err := unit.Parse("my.test", "let level = s0 s0:c1 s0:c2\nvalid system_u:object_r:kv_item_t:$level\n")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := s.Run(defaultPolicy(t), label, func(done int) {
		if done != n {
			t.Errorf("expected %d, found %d", n, done)
		}
		n++
	}); err != nil || n != 3 {
		t.Errorf("expected 3 steps, found %d, %v", n, err)
	}
}

// FuzzParse: no text makes the reader panic, and errors say where.
func FuzzParse(f *testing.F) {
	f.Add("table t a b\n x y\nend\nallow $t.a ${!t.b} c { p q }\nlabel $$ k = c\n")
	f.Add("let x = a b\nboolean b=on\nexplain-contains s t c p : # text\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := unit.Parse("f", text)
		if err == nil && len(s.Tests) == 0 {
			t.Error("expected tests or an error")
		}
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("expected the place first, found %v", err)
		}
	})
}
