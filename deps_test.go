package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The import order of the project. A package may import those of ours that are
// named on its line and nothing else of ours; the second list are the modules of
// others that it may import. "pure" packages touch no operating system: bytes
// and values in, bytes and values out.
//
// This is a statement of policy. A build that breaks it is mended in the code,
// not here.
var rules = map[string]struct {
	ours   string
	others string
	pure   bool
}{
	"policy":             {pure: true},
	"policy/cnp":         {ours: "policy", others: "go.yaml.in/yaml/v3", pure: true},
	"policy/unit":        {ours: "policy", pure: true},
	"policy/selinux":     {pure: true},
	"protocol":           {pure: true},
	"storage":            {others: "github.com/google/btree golang.org/x/sys"},
	"storage/disk":       {ours: "storage", others: "go.etcd.io/bbolt golang.org/x/sys"},
	"avc":                {ours: "policy", others: "github.com/hashicorp/golang-lru/v2"},
	"mac":                {ours: "policy policy/cnp avc", others: "github.com/opencontainers/selinux golang.org/x/sys"},
	"engine":             {ours: "policy avc mac storage storage/disk"},
	"engine/enginetest":  {ours: "policy avc mac storage engine"},
	"server":             {ours: "policy policy/cnp avc mac storage engine protocol", others: "golang.org/x/sys github.com/prometheus/client_golang github.com/coreos/go-systemd golang.org/x/crypto"},
	"server/vmtest":      {ours: "policy internal/chat", others: "golang.org/x/sys"},
	"demo":               {pure: true},
	"internal/chat":      {},
	"internal/debpolicy": {},
	"internal/testca":    {},
	"bench":              {ours: "policy avc mac storage storage/disk engine protocol server internal/testca bench/load bench/rig bench/differ bench/crashing", others: "golang.org/x/sys go.etcd.io/bbolt"},
	"":                   {ours: "policy policy/cnp policy/unit policy/selinux avc mac storage storage/disk engine protocol server demo", others: "github.com/spf13/pflag golang.org/x/sys"},
}

var impure = []string{"os", "net", "syscall", "unsafe", "time"}

// TestImportOrder checks the direct imports of every non-test file.
func TestImportOrder(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "build") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		checkImports(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("looked at %d files only: the walk is broken", files)
	}
}

func checkImports(t *testing.T, path string) {
	dir := filepath.ToSlash(filepath.Dir(path))
	if dir == "." {
		dir = ""
	}
	rule, ok := ruleFor(dir)
	if !ok {
		t.Errorf("%s: package %q has no line in the import order", path, dir)
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	ours, others := strings.Fields(rule.ours), strings.Fields(rule.others)
	for _, spec := range f.Imports {
		imp := strings.Trim(spec.Path.Value, `"`)
		switch {
		case strings.HasPrefix(imp, "sememcached/"):
			if !slices.Contains(ours, strings.TrimPrefix(imp, "sememcached/")) {
				t.Errorf("%s: %q may not import %q", path, dir, imp)
			}
		case strings.Contains(strings.Split(imp, "/")[0], "."):
			if !slices.ContainsFunc(others, func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }) {
				t.Errorf("%s: %q may not import %q", path, dir, imp)
			}
		case rule.pure && (slices.Contains(impure, imp) || strings.HasPrefix(imp, "os/") || strings.HasPrefix(imp, "net/")):
			t.Errorf("%s: %q is pure and may not import %q", path, dir, imp)
		}
	}
}

// ruleFor finds the line of a directory; commands below bench/ share its line.
func ruleFor(dir string) (r struct {
	ours   string
	others string
	pure   bool
}, ok bool,
) {
	if strings.HasPrefix(dir, "bench/") {
		dir = "bench"
	}
	r, ok = rules[dir]
	return r, ok
}

// TestOneImporter: the SELinux library answers yes where selinuxfs is missing,
// so exactly one file may use it, and that file guards it.
func TestOneImporter(t *testing.T) {
	var users []string
	ms, err := filepath.Glob("mac/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range ms {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, "_test.go") && strings.Contains(string(b), `"github.com/opencontainers/selinux/`) {
			users = append(users, path)
		}
	}
	if len(users) > 1 {
		t.Errorf("go-selinux is imported by %v: one file of mac may", users)
	}
}
