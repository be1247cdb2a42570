package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"sememcached/policy"
	"sememcached/policy/unit"
)

var testTool = &tool{
	name:     "test",
	synopsis: []string{"test [-P FILE] [--boolean NAME=on]... TESTS... [--tap | --junit | --json] [--watch]"},
	summary:  "unit tests of a policy, a line each; TAP, JUnit XML or JSON",
	about: `Asks a policy what files of one-line expectations say:

  allow            SOURCE TARGET CLASS PERMS          each of them is allowed
  deny             SOURCE TARGET CLASS PERMS          each of them is denied
  dontaudit        SOURCE TARGET CLASS PERMS          ... and not logged
  transition       SOURCE TARGET CLASS [name NAME] = CONTEXT
  label            CLIENT KEY = CONTEXT               what a server gives to a new item
  explain-contains SOURCE TARGET CLASS PERMS : TEXT   the explanation contains TEXT
  valid, invalid   CONTEXT

PERMS is read, read,write or { read write }. A # begins a comment. Settings hold
for the lines that follow:

  boolean NAME=on|off...       contexts FILE|-       server CONTEXT|-

(FILE is looked for where the test file is.) Variables and tables make one line
many tests:

  let low = s0 s0:c1                        $low: each value in turn
  table tenant client item                  $tenant.client, $tenant.item: each row in
    ...:kv_client_t:s0:c1  ...:s0:c1        turn, the same row in all of a line
    ...:kv_client_t:s0:c2  ...:s0:c2
  end
  deny $tenant.client $!tenant.item kv_item read     $!tenant: each other row

A question that makes no sense to the policy fails, whatever was expected.
--watch tests again whenever one of the files changes.
`,
	exit: "0 all as expected, 1 some not, 2 error",
	examples: []example{
		{"sememcached policy test -P site.policy site.tests", 0, ""},
		{"sememcached policy test -P site.policy --junit site.tests > results.xml", 0, "for a CI server"},
		{"sememcached policy test -P old.policy site.tests", 1, "an older policy: failures say file and line, and explain"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		pf := addPolicyFlags(f)
		tap := f.Bool("tap", false, "TAP version 14 (the default)")
		junit := f.Bool("junit", false, "JUnit XML")
		asJSON := f.Bool("json", false, "JSON")
		watch := f.Bool("watch", false, "test again whenever a file changes")
		return func(t *terminal, args []string) error {
			if len(args) == 0 {
				return errors.New("expected test files")
			}
			r := &tester{t: t, pf: pf, files: args, write: (*unit.Report).WriteTAP}
			switch {
			case *tap && *junit || *tap && *asJSON || *junit && *asJSON:
				return errors.New("expected one of --tap, --junit and --json")
			case *junit:
				r.write = (*unit.Report).WriteJUnit
			case *asJSON:
				r.write = (*unit.Report).WriteJSON
			}
			if *watch {
				return r.watch()
			}
			return r.run()
		}
	},
}

// tester runs test files.
type tester struct {
	t     *terminal
	pf    policyFlags
	files []string
	write func(*unit.Report, io.Writer) error
	reads []string // what the last run depends on
}

// run runs all files once.
func (r *tester) run() error {
	r.reads = slices.Clone(r.files)
	if *r.pf.file != "" {
		r.reads = append(r.reads, *r.pf.file)
	}
	p, from, err := r.pf.load()
	if err != nil {
		return err
	}
	// All are read before any is run.
	var suites []*unit.Suite
	total := 0
	for _, file := range r.files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s, err := unit.Parse(file, string(b))
		if err != nil {
			return err
		}
		for _, c := range s.Contexts {
			r.reads = append(r.reads, beside(file, c))
		}
		suites = append(suites, s)
		total += len(s.Tests)
	}
	ls := &labellers{p: p, from: from, booleans: *r.pf.booleans, open: map[string]*labeller{}}
	defer ls.close()
	bar := r.t.progress("tests")
	var results []unit.Result
	for _, s := range suites {
		done := len(results)
		rs, err := s.Run(p, ls.of(s.File), func(n int) { bar.step(done+n, total) })
		if err != nil {
			return err
		}
		results = append(results, rs...)
	}
	bar.end()
	report := unit.NewReport(from, results)
	if err := r.write(report, &colourWriter{r.t}); err != nil {
		return err
	}
	if report.Failed > 0 {
		return no()
	}
	return nil
}

// colourWriter is a terminal as an io.Writer.
type colourWriter struct{ t *terminal }

func (w *colourWriter) Write(b []byte) (int, error) { return len(b), w.t.write(string(b)) }

// beside is a file as a test file names it: from the directory of that.
func beside(testFile, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(testFile), name)
}

// labellers are the monitors that label tests need, one for each contexts file,
// server context and set of booleans.
type labellers struct {
	p        *policy.Policy
	from     string
	booleans []string
	open     map[string]*labeller
}

func (ls *labellers) of(file string) unit.Labeller {
	return func(t *unit.Test) (string, error) {
		booleans := slices.Clone(ls.booleans)
		for name, on := range t.Booleans {
			booleans = append(booleans, name+map[bool]string{true: "=on", false: "=off"}[on])
		}
		slices.Sort(booleans[len(ls.booleans):])
		contexts := t.Contexts
		if contexts != "" {
			contexts = beside(file, contexts)
		}
		key := fmt.Sprintf("%q %q %q", contexts, t.Server, booleans)
		l := ls.open[key]
		if l == nil {
			var err error
			if l, err = openLabeller(ls.p, ls.from, booleans, contexts, t.Server); err != nil {
				return "", err
			}
			ls.open[key] = l
		}
		_, label, _, err := l.label(t.Source, t.Key)
		return label, err
	}
}

func (ls *labellers) close() {
	for _, l := range ls.open {
		l.mon.Close()
	}
}

// watchInterval is how often the files are looked at.
const watchInterval = 300 * time.Millisecond

// watch runs again whenever a file has changed, until it is interrupted. A file
// that is wrong or missing is said, and waited for.
func (r *tester) watch() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	defer signal.Stop(stop)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last map[string]string
	for {
		now := r.state()
		changed := last == nil
		for file, state := range now {
			// A file that the last run found is not a change.
			if old, ok := last[file]; ok && old != state {
				changed = true
			}
		}
		last = now
		if changed {
			// What changes during the run differs from what was seen before it.
			if err := r.run(); err != nil && err.Error() != "" {
				fmt.Fprintf(r.t.err, "sememcached policy test: %v\n", err)
			}
			for file, state := range r.state() {
				if _, ok := last[file]; !ok {
					last[file] = state
				}
			}
			fmt.Fprintln(r.t.err, "watching; interrupt to stop")
		}
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}

// state is what the files look like that the last run read.
func (r *tester) state() map[string]string {
	out := map[string]string{}
	for _, file := range slices.Concat(r.files, r.reads) {
		out[file] = "missing"
		if fi, err := os.Stat(file); err == nil {
			out[file] = fmt.Sprint(fi.Size(), fi.ModTime().UnixNano())
		}
	}
	return out
}
