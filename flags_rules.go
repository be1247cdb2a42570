package main

import (
	"path/filepath"

	"github.com/spf13/pflag"

	"sememcached/policy/cnp"
)

// rawRules are the flags of key rules and of the access log whose text needs a
// second look.
type rawRules struct {
	labels, compat, logWhat string
}

// ruleFlags defines the flags of key rules and of the access log.
func ruleFlags(f *pflag.FlagSet, o *options, r *rawRules) {
	k, a := &o.mac.KeyRules, &o.server.AccessLog
	f.StringArrayVar(&k.Files, "key-rules", nil, "Cilium network policies that say who may use which command on which keys; repeatable (`file`)")
	f.StringVar(&k.Identities, "identities", "", "who has which labels, for key rules (`file`)")
	f.StringVar(&r.labels, "endpoint-labels", "", "the server's own labels, K=V,K=V, which endpointSelector is about; none: every policy is for it (`labels`)")
	f.StringVar(&r.compat, "key-rules-compat", "", "cilium: judge as Cilium's own parser did, but for its defects (`whose`)")
	f.StringVar(&a.File, "access-log", "", "where requests are logged as JSON: stderr or a file (`where`)")
	f.StringVar(&r.logWhat, "access-log-requests", "denied", "which requests: denied (by key rules) or all (`which`)")
	intVarP(f, &a.Sample, "access-log-sample", "", 1, "of all requests one in so many; those denied are all logged (`num`)")
	intVarP(f, &a.Rate, "access-log-rate", "", 10000, "lines a second at most; -1 is no limit (`num`)")
}

// rules checks the flags of key rules and of the access log; given says which were.
func (o *options) rules(r *rawRules, given func(flag string) bool) error {
	k, a := &o.mac.KeyRules, &o.server.AccessLog
	switch r.compat {
	case "":
	case "cilium":
		k.Mode = cnp.Cilium
	default:
		return exitf(exitUsage, "sememcached: --key-rules-compat=%s: expected cilium", r.compat)
	}
	if len(k.Files) == 0 && (k.Identities != "" || r.labels != "" || r.compat != "") {
		return exitf(exitUsage, "sememcached: --identities, --endpoint-labels and --key-rules-compat are about --key-rules, which is missing")
	}
	var err error
	if r.labels != "" {
		if k.Endpoint, err = cnp.ParseLabels(r.labels); err != nil {
			return exitf(exitUsage, "sememcached: --endpoint-labels: %w", err)
		}
	}
	if k.Ports, err = o.server.Ports(); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	switch r.logWhat {
	case "denied":
	case "all":
		a.All = true
	default:
		return exitf(exitUsage, "sememcached: --access-log-requests=%s: expected denied or all", r.logWhat)
	}
	if a.File == "" && (given("access-log-requests") || given("access-log-sample") || given("access-log-rate")) {
		return exitf(exitUsage, "sememcached: --access-log-requests, --access-log-sample and --access-log-rate are about --access-log, which is missing")
	}
	if a.Sample < 1 {
		return exitf(exitUsage, "sememcached: --access-log-sample=%d: expected a number above 0", a.Sample)
	}
	if a.Rate == 0 || a.Rate < -1 {
		return exitf(exitUsage, "sememcached: --access-log-rate=%d: expected a number above 0, or -1", a.Rate)
	}
	for i := range k.Files {
		if k.Files[i], err = filepath.Abs(k.Files[i]); err != nil {
			return exitf(exitOSError, "sememcached: %w", err)
		}
	}
	for _, p := range []*string{&k.Identities, &a.File} {
		if *p == "" || *p == "stderr" && p == &a.File {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return exitf(exitOSError, "sememcached: %w", err)
		}
	}
	return nil
}
