package main

import (
	"fmt"
	"log/slog"
	"os"
)

// warnModes warns of files that decide who may do what, or hold secrets, and that
// everybody on the machine may write or read. It refuses nothing: memcached does not, and
// the directory may be closed to others.
func warnModes(o *options, log *slog.Logger) {
	look := func(flag, path string, secret bool) {
		if path == "" {
			return
		}
		st, err := os.Stat(path)
		if err != nil || !st.Mode().IsRegular() {
			return
		}
		mode := st.Mode().Perm()
		switch {
		case mode&0o002 != 0:
			log.Warn(fmt.Sprintf("%s: everybody may write %s (mode %#o), and so decide who may do what: chmod o-w", flag, path, mode))
		case secret && mode&0o004 != 0:
			log.Warn(fmt.Sprintf("%s: everybody may read %s (mode %#o), which holds secrets: chmod o-r", flag, path, mode))
		}
	}
	look("--policy", o.mac.PolicyFile, false)
	look("--contexts", o.mac.ContextsFile, false)
	for _, f := range o.mac.KeyRules.Files {
		look("--key-rules", f, false)
	}
	look("--identities", o.mac.KeyRules.Identities, false)
	look("-Y", o.server.AuthFile, true)
	if o.server.SASL {
		look("MEMCACHED_SASL_PWDB", o.server.SASLUsers, true)
	}
	if t := &o.server.TLS; t.Enabled {
		key := t.Key
		if key == "" {
			key = t.ChainCert
		}
		look("-o ssl_key", key, true)
		look("-o ssl_ca_cert", t.CACert, false)
	}
}
