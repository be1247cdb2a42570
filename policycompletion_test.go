package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// completions are what each shell must complete, in docs/examples.
var completionCases = []struct{ line, want string }{
	{"sememcached pol", "policy"},
	{"sememcached policy ex", "explain"},
	{"sememcached policy explain --l", "--line"},
	{"sememcached policy diff -P sit", "site.cil site.policy site.tests"},
	{"sememcached policy test ten", "tenants.contexts"},
	{"sememcached policy completion f", "fish"},
	{"sememcached --permi", "--permissive"},
	{"sememcached dat", "data"},
	{"sememcached data c", "check compact"},
	{"sememcached data dump --pre", "--prefix"},
	{"sememcached data check tenants.c", "tenants.contexts"},
}

// TestCompletionWorks lets each shell complete, as it does when a person presses
// the tabulator key.
func TestCompletionWorks(t *testing.T) {
	for _, shell := range []struct {
		name     string
		complete func(t *testing.T, bin, line string) string
	}{
		{"bash", completeByBash},
		{"fish", completeByFish},
		{"zsh", completeByZsh},
	} {
		t.Run(shell.name, func(t *testing.T) {
			if _, err := exec.LookPath(shell.name); err != nil {
				missingTool(t, "%s is not installed", shell.name)
			}
			bin := program(t)
			for _, c := range completionCases {
				words := strings.Fields(shell.complete(t, bin, c.line))
				slices.Sort(words)
				if have := strings.Join(slices.Compact(words), " "); have != c.want {
					t.Errorf("%q: expected %q, found %q", c.line, c.want, have)
				}
			}
		})
	}
}

// inShell runs a shell in docs/examples with the command on its PATH and a home of
// its own.
func inShell(t *testing.T, bin, shell string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, args...)
	cmd.Dir = "docs/examples"
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "TERM=dumb", "XDG_CONFIG_HOME=", "XDG_DATA_HOME=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", shell, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func completeByBash(t *testing.T, bin, line string) string {
	return inShell(t, bin, "bash", "-c", fmt.Sprintf(`eval "$(sememcached policy completion bash)"
COMP_WORDS=(%s); COMP_CWORD=%d; _sememcached; echo ${COMPREPLY[@]}`, line, len(strings.Fields(line))-1))
}

func completeByFish(t *testing.T, bin, line string) string {
	out := inShell(t, bin, "fish", "--no-config", "-c", fmt.Sprintf(`sememcached policy completion fish | source
complete -C '%s'`, line))
	var words []string
	for l := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// zshInit prepares an interactive zsh that completes one line: compadd, which adds
// matches, also writes them to a file, and the shell ends after the completion.
const zshInit = `PROMPT= RPROMPT=
fpath=(%[1]s $fpath)
autoload -Uz compinit && compinit -u -d %[1]s/dump
bindkey '^I' complete-word
finish() { exit }
comppostfuncs=(finish)
compadd() {
    # Calls that fill arrays or look only are not about the line.
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        local -a matches
        builtin compadd -A matches "$@"
        print -rl -- $matches >> %[1]s/matches
    fi
    builtin compadd "$@"
}
print READY
`

// completeByZsh drives an interactive zsh on a terminal of its own (zpty), since
// zsh completes nowhere else.
func completeByZsh(t *testing.T, bin, line string) string {
	// One directory for all lines: zsh remembers there what it knows to complete.
	dir := filepath.Join(bin, "zsh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "init"), fmt.Sprintf(zshInit, dir))
	writeFile(t, filepath.Join(dir, "matches"), "")
	inShell(t, bin, "zsh", "-f", "-c", fmt.Sprintf(`sememcached policy completion zsh > %[1]s/_sememcached || exit
zmodload zsh/zpty || exit
zpty shell zsh -f -i
zpty -w shell source %[1]s/init
while zpty -r shell out; do [[ $out == *READY* ]] && break; done
zpty -n -w shell "%[2]s"$'\t'
while zpty -r shell out; do :; done
exit 0`, dir, line))
	b, err := os.ReadFile(filepath.Join(dir, "matches"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
