package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

var completionTool = &tool{
	name:     "completion",
	synopsis: []string{"completion bash|zsh|fish"},
	summary:  "shell completion, for the server's flags and the tools for policies and data files",
	about: `Prints a completion script: subcommands, flags, and files where a flag takes one.
`,
	exit: "0, or 2 for an unknown shell",
	examples: []example{
		{"sememcached policy completion bash > sememcached.bash", 0, "then: source sememcached.bash, or put it into /etc/bash_completion.d"},
		{"sememcached policy completion zsh > _sememcached", 0, "into a directory of $fpath"},
		{"sememcached policy completion fish > sememcached.fish", 0, "into ~/.config/fish/completions"},
	},
}

// The completions list the tools, completion among them: setup is set here, as a
// variable cannot be initialised by way of itself.
func init() {
	completionTool.setup = func(*pflag.FlagSet) func(*terminal, []string) error {
		return func(t *terminal, args []string) error {
			scripts := map[string]func([]completed) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
			if len(args) != 1 || scripts[args[0]] == nil {
				return fmt.Errorf("expected one of bash, zsh, fish, found %q", strings.Join(args, " "))
			}
			// As it is: no colour in a script.
			_, err := fmt.Fprint(t.out, scripts[args[0]](completions()))
			return err
		}
	}
}

// completed is a command that is completed: the server (name ""), or a tool of a
// group of subcommands, policy or data.
type completed struct {
	group   string
	name    string
	summary string
	flags   []completedFlag
}

type completedFlag struct {
	name, short string
	usage       string
	takes       string // "", "file" or "value"
}

func completions() []completed {
	server := newFlagSet(&options{}, &rawFlags{})
	out := []completed{{flags: completedFlags(server)}}
	add := func(group string, ts []*tool) {
		for _, t := range ts {
			f, _ := t.flags()
			fs := append(completedFlags(f), completedFlag{name: "help", short: "h", usage: "help with examples"})
			out = append(out, completed{group, t.name, t.summary, fs})
		}
	}
	add("policy", tools())
	add("data", dataTools())
	return out
}

// completedGroups are the subcommands that have subcommands of their own.
var completedGroups = []string{"policy", "data"}

func completedFlags(f *pflag.FlagSet) (out []completedFlag) {
	f.VisitAll(func(fl *pflag.Flag) {
		word, usage := pflag.UnquoteUsage(fl)
		c := completedFlag{name: fl.Name, short: fl.Shorthand, usage: placeholder.ReplaceAllString(usage, "$1")}
		switch {
		case fl.NoOptDefVal != "":
		case word == "file" || word == "dir":
			c.takes = "file"
		default:
			c.takes = "value"
		}
		out = append(out, c)
	})
	return out
}

// words lists flags as they are typed, those of one kind of argument or, for
// "all", every one.
func (c *completed) words(takes string) string {
	var out []string
	for _, f := range c.flags {
		if takes == "all" || f.takes == takes {
			out = append(out, "--"+f.name)
			if f.short != "" {
				out = append(out, "-"+f.short)
			}
		}
	}
	return strings.Join(out, " ")
}

func toolNames(cs []completed, group string) string {
	var out []string
	for _, c := range cs[1:] {
		if c.group == group {
			out = append(out, c.name)
		}
	}
	return strings.Join(out, " ")
}

func bashScript(cs []completed) string {
	var b strings.Builder
	b.WriteString(`# bash completion for sememcached
_sememcached() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} tool="" flags files values
`)
	for _, g := range completedGroups {
		fmt.Fprintf(&b, `    if [[ ${COMP_WORDS[1]} == %s && $COMP_CWORD -ge 2 ]]; then
        if [[ $COMP_CWORD -eq 2 ]]; then
            COMPREPLY=($(compgen -W '%s help' -- "$cur"))
            return
        fi
        tool=%[1]s-${COMP_WORDS[2]}
    fi
`, g, toolNames(cs, g))
	}
	b.WriteString(`    case "$tool" in
`)
	for i := range cs {
		c := &cs[i]
		name := c.group + "-" + c.name
		if c.name == "" {
			name = `""`
		}
		fmt.Fprintf(&b, "    %s)\n        flags='%s'\n        files=' %s '\n        values=' %s '\n        ;;\n", name,
			c.words("all"), c.words("file"), c.words("value"))
	}
	b.WriteString(`    esac
    if [[ $files == *" $prev "* ]]; then
        COMPREPLY=($(compgen -f -- "$cur"))
    elif [[ $values == *" $prev "* ]]; then
        COMPREPLY=()
    elif [[ $tool == policy-completion ]]; then
        COMPREPLY=($(compgen -W 'bash zsh fish' -- "$cur"))
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -z $tool && $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "policy data rules $flags" -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -F _sememcached sememcached
`)
	return b.String()
}

// zshQuote makes s safe within the single quotes and brackets of _arguments.
func zshQuote(s string) string {
	return strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(s)
}

func zshScript(cs []completed) string {
	var b strings.Builder
	b.WriteString("#compdef sememcached\n_sememcached() {\n    local -a tools\n")
	fmt.Fprintf(&b, "    if [[ $words[2] != (%s) ]] || (( CURRENT == 2 )); then\n        _arguments '1::tools:(policy data rules)' \\\n", strings.Join(completedGroups, "|"))
	zshFlags(&b, &cs[0], "            ")
	b.WriteString("        return\n    fi\n    case $words[2] in\n")
	for _, g := range completedGroups {
		fmt.Fprintf(&b, "    %s)\n        tools=(\n", g)
		for _, c := range cs[1:] {
			if c.group == g {
				fmt.Fprintf(&b, "            '%s:%s'\n", c.name, zshQuote(c.summary))
			}
		}
		b.WriteString("        )\n        ;;\n")
	}
	b.WriteString("    esac\n    if (( CURRENT == 3 )); then\n        _describe 'tool' tools\n        return\n    fi\n" +
		"    local tool=$words[2]-$words[3]\n    shift 2 words\n    (( CURRENT -= 2 ))\n    case $tool in\n")
	for i := range cs[1:] {
		c := &cs[i+1]
		fmt.Fprintf(&b, "    %s-%s)\n        _arguments \\\n", c.group, c.name)
		zshFlags(&b, c, "            ")
		b.WriteString("        ;;\n")
	}
	// As a file of $fpath it is the body of the function; it may also be sourced.
	b.WriteString("    esac\n}\nif [[ $funcstack[1] == _sememcached ]]; then\n    _sememcached \"$@\"\nelse\n    compdef _sememcached sememcached\nfi\n")
	return b.String()
}

func zshFlags(b *strings.Builder, c *completed, indent string) {
	for _, f := range c.flags {
		arg := map[string]string{"": "", "file": ":file:_files", "value": ":value: "}[f.takes]
		fmt.Fprintf(b, "%s'*--%s[%s]%s' \\\n", indent, f.name, zshQuote(f.usage), arg)
		if f.short != "" {
			fmt.Fprintf(b, "%s'*-%s[%s]%s' \\\n", indent, f.short, zshQuote(f.usage), arg)
		}
	}
	switch c.name {
	case "":
		fmt.Fprintf(b, "%s&& return\n", indent)
	case "completion":
		fmt.Fprintf(b, "%s'*:shell:(bash zsh fish)'\n", indent)
	default:
		fmt.Fprintf(b, "%s'*:file:_files'\n", indent)
	}
}

// fishQuote makes s safe within single quotes.
func fishQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s)
}

func fishScript(cs []completed) string {
	var b strings.Builder
	b.WriteString("# fish completion for sememcached\n")
	b.WriteString("complete -c sememcached -n '__fish_is_nth_token 1' -a policy -d 'ask a policy'\n")
	b.WriteString("complete -c sememcached -n '__fish_is_nth_token 1' -a data -d 'look into a data file'\n")
	b.WriteString("complete -c sememcached -n '__fish_is_nth_token 1' -a rules -d 'ask key rules'\n")
	for _, c := range cs[1:] {
		fmt.Fprintf(&b, "complete -c sememcached -f -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from %s' -a %s -d '%s'\n", c.group, toolNames(cs, c.group), c.name, fishQuote(c.summary))
	}
	for i := range cs {
		c := &cs[i]
		when := "not __fish_seen_subcommand_from " + strings.Join(completedGroups, " ")
		if c.name != "" {
			when = "__fish_seen_subcommand_from " + c.group + "; and __fish_seen_subcommand_from " + c.name
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, "complete -c sememcached -n '%s' -l %s", when, f.name)
			if f.short != "" {
				fmt.Fprintf(&b, " -s %s", f.short)
			}
			fmt.Fprintf(&b, "%s -d '%s'\n", map[string]string{"": "", "file": " -r -F", "value": " -x"}[f.takes], fishQuote(f.usage))
		}
	}
	b.WriteString("complete -c sememcached -f -n '__fish_seen_subcommand_from policy; and __fish_seen_subcommand_from completion' -a 'bash zsh fish'\n")
	return b.String()
}
