package policy

import _ "embed"

//go:embed default.bin
var defaultPolicy []byte

// Default is the policy that is built in: default.cil, compiled. Its comments
// say what its domains may do. The bytes are the caller's.
func Default() []byte { return append([]byte(nil), defaultPolicy...) }
