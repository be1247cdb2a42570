// Package demo holds the acts of "sememcached demo": scripts that show what
// clients of a shared cache can do to each other, the policy that ends it, and the
// denial. Each is a text file, a line each:
//
//	= TITLE                what the act is about
//	: TEXT                 told to the audience; without text an empty line
//	contexts               the lines until the next blank one are the contexts file
//	identities             likewise the identity file of the key rules
//	rules                  likewise the key rules; put in force at once
//	rules none             everything is allowed again
//	NAME > TEXT            NAME sends TEXT CR LF by the text or meta protocol
//	NAME >> TEXT           NAME sends TEXT as it is: \r \n \\ are escapes
//	NAME binary get KEY    NAME asks by the binary protocol
//	NAME binary set KEY VALUE
//	< TEXT                 a line that must come back; several for several
//	proxy NAME > TEXT      TEXT, escaped, goes through the second parser (Proxy)
//	proxy < N PASS|DENY    what that must make of it: N frames, and a verdict
//
// Clients are told apart by their address: the cast is Cast. Whatever does not come
// back as written ends the demo with an error, so that what it shows is so.
package demo

import "embed"

// Acts are the scripts, NAME.act.
//
//go:embed *.act
var Acts embed.FS

// Names lists the acts in the order in which they are shown.
var Names = []string{"fleet", "alliance", "empire", "bypass"}

// Cast is the clients: each has an address of its own on the loopback interface.
var Cast = map[string]string{
	"admin":       "127.0.0.1",
	"a-wing":      "127.0.0.2",
	"x-wing":      "127.0.0.3",
	"tracker":     "127.0.0.4",
	"maintenance": "127.0.0.5",
	"monitoring":  "127.0.0.6",
	"jedi":        "127.0.0.7",
	"tie":         "127.0.0.8",
	"vader":       "127.0.0.9",
	"client":      "127.0.0.10",
}
