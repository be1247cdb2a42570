package policy

import (
	"bytes"
	"unicode/utf8"
)

// NotCompiled says what to do with a file that Read refuses since it is a policy in another form,
// for the end of an error; "" of any other file.
func NotCompiled(b []byte) string {
	head := b[:min(len(b), 4096)]
	switch {
	case len(head) > 0 && !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == utf8.RuneError }):
		return "; it is text: expected a binary policy, as secilc -o FILE SOURCE.cil or checkpolicy -o FILE SOURCE.conf writes it"
	case bytes.HasPrefix(head, []byte("BZh")):
		return "; it is compressed: expected a binary policy"
	case bytes.HasPrefix(head, []byte{0x8f, 0xff, 0x7c, 0xf9}), bytes.HasPrefix(head, []byte{0x8d, 0xff, 0x7c, 0xf9}):
		return "; it is a policy module: expected a whole policy, as semodule installs it or semodule_expand writes it"
	}
	return ""
}
