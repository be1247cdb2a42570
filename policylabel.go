package main

import (
	"fmt"
	"io"
	"log/slog"

	"sememcached/avc"
	"sememcached/mac"
)

// policyLabel answers with the monitor itself, opened on the policy as a server
// would open it: what it prints is what a server does.
func policyLabel(args []string, stdout io.Writer) error {
	f := subcommand("label", `sememcached policy label [-P FILE] -s CONTEXT [-S SERVER] [-C CONTEXTS] -k KEY

Says which label a new item gets, what decided it, and whether the client may
create it. Exit status: 0 create is allowed, 1 denied, 2 error.

Examples:
  sememcached policy label -s system_u:system_r:kv_client_t:s0:c1 -k user:1
  sememcached policy label -C tenants.contexts -s system_u:system_r:kv_client_t:s0:c1 -k session:42
`, stdout)
	file := f.StringP("policy", "P", "", "binary policy (`file`)")
	scon := f.StringP("source", "s", "", "client context (`context`)")
	server := f.StringP("server-context", "S", "", "server context (`context`)")
	contexts := f.StringP("contexts", "C", "", "contexts file (`file`)")
	key := f.StringP("key", "k", "", "key of the item (`key`)")
	booleans := f.StringArray("boolean", nil, "switch a boolean first, NAME=on|off (`name=state`)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *scon == "" || *key == "" {
		return fmt.Errorf("-s and -k are needed; see sememcached policy label --help")
	}
	set, err := parseBooleans(*booleans)
	if err != nil {
		return err
	}
	if *file == "" {
		if p, from, err := loadPolicy(""); err == nil && p != nil && from != "the built-in policy" {
			*file = kernelPolicy
		}
	}
	mon, err := mac.Open(mac.Config{
		Mode: mac.PolicyFile, PolicyFile: *file, Booleans: set, ContextsFile: *contexts, ServerContext: *server,
		AuditWriter: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer mon.Close()
	return printLabel(stdout, mon, *scon, *key)
}

func printLabel(stdout io.Writer, mon *mac.Monitor, scon, key string) error {
	g := mon.Generation()
	client := mon.Decide(g, mac.Question{Kind: mac.AskContext, Class: avc.ClassItem, Text: scon})
	if client.Err != nil {
		return fmt.Errorf("-s: %w", client.Err)
	}
	sel := g.Selector([]byte(key))
	label := mon.Decide(g, mac.Question{Kind: mac.AskCreate, Class: avc.ClassItem, Source: client.SID, Selector: sel})
	if label.Err != nil {
		return fmt.Errorf("no label for key %q: %w", key, label.Err)
	}
	sids := mon.SIDs()
	a := mon.Decide(g, mac.Question{Kind: mac.AskAccess, Class: avc.ClassItem, Source: client.SID, Target: label.SID})
	w := &errWriter{w: stdout}
	w.printf("client  %s\n", sids.String(client.SID))
	w.printf("server  %s\n", sids.String(g.Server))
	w.printf("label   %s\n", sids.String(label.SID))
	w.printf("because %s\n", g.DescribeSelector(sel))
	if !a.Decision.Failed && a.Decision.Allowed&avc.Create != 0 {
		w.printf("create  allowed\n")
		return w.err
	}
	w.printf("create  denied\n")
	if w.err != nil {
		return w.err
	}
	return exitf(exitDenied, "")
}
