// Sememcached is a drop-in memcached server with mandatory access control: it
// learns each client's security context, gives each item one, and asks an
// SELinux security server, the kernel's or its own, before it answers.
//
// This package is wiring only: flags become settings, settings become a policy,
// a monitor, a store, an engine and a server.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Exit codes of sysexits.h, where memcached or the design uses them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 64
	exitNoUser  = 67
	exitOSError = 71
	exitIOError = 74
)

// exitError is an error that knows its exit code. Its text is for people: what
// was expected, what was found, what to do.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it returns the exit code. Subcommands come first;
// everything else is memcached's own command line.
func run(args []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "policy":
		err = policyCommand(args[1:], stdout, stderr)
	case len(args) > 0 && args[0] == "rules":
		err = rulesCommand(args[1:], stdout, stderr)
	case len(args) > 0 && args[0] == "demo":
		err = demoCommand(args[1:], stdout)
	case len(args) > 0 && args[0] == "data":
		err = dataCommand(args[1:], stdout, stderr)
	default:
		err = serveCommand(args, stdout, stderr)
	}
	if err == nil {
		return exitOK
	}
	var coded *exitError
	if !errors.As(err, &coded) {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	if text := coded.Error(); text != "" {
		fmt.Fprintln(stderr, text)
	}
	return coded.code
}
