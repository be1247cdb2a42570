package mac

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sememcached/avc"
	"sememcached/policy"
)

func TestComplaintsOfAllKinds(t *testing.T) {
	var c complaints
	type said struct {
		ok   bool
		more uint64
	}
	for i, step := range []struct {
		second int64
		text   string
		want   said
	}{
		{100, "a", said{true, 0}},
		{100, "a", said{false, 0}},
		{100, "b", said{true, 1}}, // another kind in the same second
		{100, "a", said{false, 0}},
		{100, "b", said{false, 0}},
		{101, "a", said{true, 2}},
		{99, "a", said{true, 0}}, // the clock was set back
		{99, "a", said{false, 0}},
	} {
		ok, more := c.admit(step.second, step.text)
		if got := (said{ok, more}); got != step.want {
			t.Errorf("step %d: expected %v, found %v", i, step.want, got)
		}
	}
	logged := 0
	for i := range 1000 {
		if ok, _ := c.admit(200, fmt.Sprint(i)); ok {
			logged++
		}
	}
	if ok, more := c.admit(201, "x"); logged != maxComplaints || !ok || more != 1000-maxComplaints {
		t.Errorf("%d different ones logged, then %v with %d", logged, ok, more)
	}
}

// What a broken kernel does in two ways at once is told in two lines, however
// fast one follows the other.
func TestTwoFailuresAreToldOf(t *testing.T) {
	var log text
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	e := m.NewEpoch()
	m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(reader), Target: m.sid2(item)})
	k.breakIt(unix.EACCES)
	m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(plain), Target: m.sid2(item)})
	k.breakIt(errors.New("something else"))
	m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(plain), Target: m.sid2(item1)})
	for _, want := range []string{"permission denied", "something else"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not told of:\n%s", want, log.String())
		}
	}
}
