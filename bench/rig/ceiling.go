package rig

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed ceiling/echo.c
var ceilingSource []byte

// ErrNoCompiler says that the ceiling cannot be measured here.
var ErrNoCompiler = errors.New("rig: no C compiler (gcc or cc), so the ceiling is not measured")

// BuildCeiling compiles, in dir, a C server that makes a memcached's system calls
// and does nothing else.
func BuildCeiling(dir string) (Kind, error) {
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
	src, bin := filepath.Join(dir, "echo.c"), filepath.Join(dir, "echo")
	if err := os.WriteFile(src, ceilingSource, 0o600); err != nil {
		return Kind{}, fmt.Errorf("rig: %w", err)
	}
	if out, err := exec.Command(cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return Kind{}, fmt.Errorf("rig: %s: %w: %s", cc, err, out)
	}
	return Kind{Name: "ceiling", Argv: []string{bin}, Ceiling: true}, nil
}
