package crashing

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// powerKey is a key and every state that it has been given.
type powerKey struct {
	history
	label  string // of a new item
	states []powerState
}

// powerState is a state, with its label, and the answer after which it has to be
// found: the n-th one of a connection, counted from 1; 0 for none.
type powerState struct {
	state
	conn, nth int
}

func (s *powerState) is(found *state) bool {
	return s.same(found) && (!found.exists || s.label == found.label)
}

func powerLabel(category int) string {
	return fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", category)
}

// powerContexts label keys by how they begin.
const powerContexts = `client * system_u:system_r:kv_admin_t:s0-s0:c0.c1023
kv_item a:* system_u:object_r:kv_item_t:s0:c1
kv_item b:* system_u:object_r:kv_item_t:s0:c2
`

// command chooses the next command of a key, as history.command does, and now
// and then a relabelling.
func (k *powerKey) command(rng *rand.Rand) op {
	s := &k.states[len(k.states)-1]
	k.history.states = append(k.history.states[:0], s.state)
	if s.exists && rng.IntN(12) == 0 {
		next := s.state
		next.label = powerLabel(3 + rng.IntN(3))
		return op{wire: "mac relabel " + k.key + " " + next.label + "\r\n", next: next, ok: "RELABELED"}
	}
	o := k.history.command(rng)
	if strings.HasPrefix(o.wire, "set ") && !k.number && rng.IntN(5) == 0 {
		// More of the values that fill pages, for the log to be written anew.
		o.next.value += strings.Repeat("-", 5000+rng.IntN(60000)) + "."
		o.wire = k.set(&o.next)
	}
	switch {
	case !o.next.exists:
		o.next.label = ""
	case s.exists:
		o.next.label = s.label // overwriting keeps it
	default:
		o.next.label = k.label
	}
	return o
}

// at returns the states that the key may be found in once acked[c] answers of
// connection c are to be remembered.
func (k *powerKey) at(acked []int) []powerState {
	from := 0
	for i := range k.states {
		if s := &k.states[i]; s.nth > 0 && s.nth <= acked[s.conn] {
			from = i
		}
	}
	return k.states[from:]
}

// judge says what is wrong with the state that a key was found in.
func (k *powerKey) judge(found *state, acked []int) error {
	may := k.at(acked)
	for i := range may {
		if may[i].is(found) {
			return nil
		}
	}
	for i := range k.states {
		if s := &k.states[i]; s.is(found) {
			return fmt.Errorf("key %s: lost: state %d of %d was found, %s; expected %d or a later one, %s",
				k.key, i, len(k.states), found, len(k.states)-len(may), &may[0].state)
		}
	}
	return fmt.Errorf("key %s: a state that it never had: %s, label %q; expected %s, label %q",
		k.key, found, found.label, &may[0].state, may[0].label)
}

// newPowerKeys makes the keys of a run; those of connection c are i%conns == c.
func newPowerKeys(conns, each int) []*powerKey {
	var ks []*powerKey
	for i := range conns * each {
		tenant := i / conns % 2
		k := &powerKey{label: powerLabel(1 + tenant), states: []powerState{{}}}
		k.key = fmt.Sprintf("%s:%d", strings.Split("a b", " ")[tenant], i)
		k.number = i%7 == 0
		ks = append(ks, k)
	}
	return ks
}
