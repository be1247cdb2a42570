package main

import (
	"os/user"

	"sememcached/server"
)

// checkRest is the part of --check-config that is neither the policy's nor TLS's:
// the user, the addresses, and the files of users.
func checkRest(o *options) error {
	if o.user != "" {
		if _, err := user.Lookup(o.user); err != nil {
			return exitf(exitNoUser, "can't find the user %s to switch to", o.user)
		}
	}
	if err := server.CheckAddresses(&o.server); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	o.server.SASLUsers = server.SASLUsersFromEnv()
	if err := server.CheckAuth(&o.server); err != nil {
		return exitf(exitFailure, "sememcached: %w", err)
	}
	return nil
}
