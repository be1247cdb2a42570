package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

// kernelPolicy is the running kernel's binary policy.
const kernelPolicy = "/sys/fs/selinux/policy"

// Exit codes of the policy tools: yes, no, and everything that is no answer.
const (
	exitNo       = 1
	exitNoAnswer = 2
)

// tool is one subcommand of "sememcached policy". The help, the manual page, the
// completions and the tests of the examples are all made from it.
type tool struct {
	group    string // "": policy
	name     string
	synopsis []string // after "sememcached" and the room
	summary  string   // one line, without a full stop
	about    string   // paragraphs
	exit     string   // what the exit status means
	examples []example
	// setup defines the flags, and returns what runs once they are parsed.
	setup func(f *pflag.FlagSet) func(t *terminal, args []string) error
}

// example is a command that runs as written where the files of docs/examples
// are.
type example struct {
	command string
	exit    int // what it ends with
	note    string
}

// tools are the subcommands, in the order of the help.
func tools() []*tool {
	return []*tool{infoTool, checkTool, explainTool, labelTool, testTool, diffTool, replayTool, moduleTool, fromCNPTool, completionTool}
}

// command is what to type for the tool, without its arguments.
func (t *tool) command() string {
	if t.group != "" {
		return "sememcached " + t.group
	}
	return "sememcached policy"
}

// terminal is where a tool writes.
type terminal struct {
	out    io.Writer
	err    io.Writer
	colour bool // out is a terminal, and nobody has asked for no colour
}

// policyCommand is "sememcached policy ...".
func policyCommand(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return exitf(exitNoAnswer, "%s", strings.TrimRight(policyHelp(), "\n"))
	}
	switch args[0] {
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, policyHelp())
		return err
	}
	var names []string
	for _, t := range tools() {
		if t.name == args[0] {
			return t.run(args[1:], stdout, stderr)
		}
		names = append(names, t.name)
	}
	return exitf(exitNoAnswer, "sememcached policy: expected one of %s, found %q\nRun sememcached policy -h for help.", strings.Join(names, ", "), args[0])
}

func (t *tool) run(args []string, stdout, stderr io.Writer) error {
	f, run := t.flags()
	f.SetOutput(stdout)
	f.Usage = func() { fmt.Fprint(stdout, t.help()) }
	err := f.Parse(args)
	if err == nil {
		err = run(&terminal{stdout, stderr, wantsColour(stdout)}, f.Args())
	}
	var coded *exitError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return nil
	case errors.As(err, &coded) && (coded.code == exitNo || coded.code == exitNoAnswer):
		return err
	}
	return exitf(exitNoAnswer, "%s %s: %w", t.command(), t.name, err)
}

func (t *tool) flags() (*pflag.FlagSet, func(*terminal, []string) error) {
	f := pflag.NewFlagSet(t.name, pflag.ContinueOnError)
	f.SortFlags = false
	run := t.setup(f)
	return f, run
}

// policyHelp lists the tools.
func policyHelp() string {
	var b strings.Builder
	b.WriteString("sememcached policy: ask an SELinux policy, without a server or an SELinux kernel\n\n")
	for _, t := range tools() {
		for _, s := range t.synopsis {
			fmt.Fprintf(&b, "  sememcached policy %s\n", s)
		}
		fmt.Fprintf(&b, "      %s\n", t.summary)
	}
	b.WriteString(`
Without a policy file: the running kernel's policy if it can be read, else the
built-in one. Each of them has --help with examples.
`)
	return b.String()
}

// help is what --help prints.
func (t *tool) help() string {
	var b strings.Builder
	for _, s := range t.synopsis {
		fmt.Fprintf(&b, "%s %s\n", t.command(), s)
	}
	fmt.Fprintf(&b, "\n%s\n", t.about)
	fmt.Fprintf(&b, "Exit status: %s\n", t.exit)
	b.WriteString("\nExamples:\n")
	for _, e := range t.examples {
		fmt.Fprintf(&b, "  %s\n", e.command)
		if e.note != "" {
			fmt.Fprintf(&b, "      %s\n", e.note)
		}
	}
	f, _ := t.flags()
	if f.HasFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", flagUsages(f))
	}
	return b.String()
}

// policyFlags are the flags that choose a policy.
type policyFlags struct {
	file     *string
	booleans *[]string
}

func addPolicyFlags(f *pflag.FlagSet) policyFlags {
	return policyFlags{
		f.StringP("policy", "P", "", "binary policy (`file`)"),
		f.StringArray("boolean", nil, "switch a boolean first, NAME=on|off; repeatable (`name=state`)"),
	}
}

// load reads the policy and switches its booleans.
func (pf policyFlags) load() (*policy.Policy, string, error) {
	p, from, err := loadPolicy(*pf.file)
	if err != nil {
		return nil, "", err
	}
	p, err = switchBooleans(p, *pf.booleans)
	return p, from, err
}

func switchBooleans(p *policy.Policy, pairs []string) (*policy.Policy, error) {
	set, err := parseBooleans(pairs)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "sememcached: ")) // without its exit code
	}
	q, err := p.WithBooleans(set)
	if err != nil {
		return nil, fmt.Errorf("--boolean: %w; %s", err, booleanNames(p))
	}
	return q, nil
}

// maxNames bounds how many names a message lists.
const maxNames = 12

// booleanNames says which booleans a policy has, some of many.
func booleanNames(p *policy.Policy) string {
	var names []string
	for _, b := range p.Booleans() {
		if len(names) == maxNames {
			names = append(names, "...")
			break
		}
		names = append(names, b.Name)
	}
	if len(names) == 0 {
		return "the policy has none"
	}
	return "it has " + strings.Join(names, " ")
}

// loadPolicy reads a policy file, or finds one. It returns what it read, for
// people.
func loadPolicy(file string) (*policy.Policy, string, error) {
	if file == "" {
		if b, err := os.ReadFile(kernelPolicy); err == nil {
			p, err := policy.Read(b)
			if err != nil {
				return nil, "", fmt.Errorf("the running kernel's policy, %s: %w", kernelPolicy, err)
			}
			return p, "the running kernel's policy", nil
		}
		p, err := policy.Read(policy.Default())
		return p, "the built-in policy", err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	p, err := policy.Read(b)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w%s", file, err, policy.NotCompiled(b))
	}
	return p, file, nil
}

// no is the answer no: what there is to say has been written.
func no() error { return exitf(exitNo, "") }

// noArguments refuses what is left of a command line.
func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("expected flags only, found %q", args[0])
	}
	return nil
}
