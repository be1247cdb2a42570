package rig

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed ceiling
var ceilingSources embed.FS

// ErrNoCompiler says that the ceiling cannot be measured here.
var ErrNoCompiler = errors.New("rig: no C compiler (gcc or cc), so the ceiling is not measured")

// BuildCeiling compiles, in dir, a C server that makes a memcached's system calls
// and does nothing else.
func BuildCeiling(dir string) (Kind, error) { return buildCeiling(dir, "ceiling", "echo") }

// BuildURingCeiling is BuildCeiling for a server that uses io_uring instead. It
// needs liburing's header and library.
func BuildURingCeiling(dir string) (Kind, error) {
	return buildCeiling(dir, "ceiling-io_uring", "uring", "-luring")
}

func buildCeiling(dir, name, program string, libs ...string) (Kind, error) {
	cc := ""
	for _, name := range []string{"gcc", "cc"} {
		if p, err := exec.LookPath(name); err == nil {
			cc = p
			break
		}
	}
	if cc == "" {
		return Kind{}, ErrNoCompiler
	}
	for _, f := range []string{"memcached.h", program + ".c"} {
		b, err := ceilingSources.ReadFile("ceiling/" + f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), b, 0o600)
		}
		if err != nil {
			return Kind{}, fmt.Errorf("rig: %w", err)
		}
	}
	bin := filepath.Join(dir, program)
	args := append([]string{"-O2", "-o", bin, bin + ".c"}, libs...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return Kind{}, fmt.Errorf("rig: %s: %w: %s", cc, err, out)
	}
	return Kind{Name: name, Argv: []string{bin}, Ceiling: true}, nil
}
