// Package debpolicy builds Debian's SELinux policies, with CIL of ours added, as
// test data: 4,400 types and 2.3 MB, what a real machine loads. It is test
// support; no product code imports it.
//
// The packages selinux-policy-default and selinux-policy-mls ship modules.
// Debian's hll/pp turns them into CIL, which secilc compiles; together that takes
// twenty seconds, so what comes of it is kept in the user's cache:
//
//	~/.cache/sememcached-policy-test/FLAVOR_VERSION/   VERSION is that of the package
//	    modules.cil        all modules in CIL
//	    NAME.cil           what was added
//	    NAME.vNN.bin       both of them compiled
//	    ...                what else a test derives, by File
//
// A file appears there whole or not at all; tests of several processes may build
// the same one at a time, and the last one stays.
package debpolicy

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const hll = "/usr/libexec/selinux/hll/pp"

// ErrMissing says that a package or a tool is not installed; the text has its name.
var ErrMissing = errors.New("not installed")

// Version is the policy version that Build writes, the newest of secilc 3.4.
const Version = 33

// Build returns the path of the compiled policy of a flavor, default or mls,
// with the CIL of the file cil added. Policies with other names are kept beside
// each other; one whose CIL has changed is built anew.
func Build(name, flavor, cil string) (string, error) { return BuildAt(Version, name, flavor, cil) }

// BuildAt is Build for another policy version.
func BuildAt(version int, name, flavor, cil string) (string, error) {
	added, err := os.ReadFile(cil)
	if err != nil {
		return "", err
	}
	file := fmt.Sprintf("%s.v%d.bin", name, version)
	// What was added is kept under the name of the policy made of it: each
	// version has its own, so that none is taken for one of other sources.
	source := name + ".cil"
	if version != Version {
		source = fmt.Sprintf("%s.v%d.cil", name, version)
	}
	dir, err := directory(flavor)
	if err != nil {
		return "", err
	}
	old, err := os.ReadFile(filepath.Join(dir, source))
	return inCache(dir, file, err == nil && string(old) == string(added), func(tmp string) error {
		copied := filepath.Join(tmp, source)
		if err := os.WriteFile(copied, added, 0o600); err != nil {
			return err
		}
		if err := Compile(flavor, "-c", strconv.Itoa(version), "-o", filepath.Join(tmp, file), copied); err != nil {
			return err
		}
		return os.Rename(copied, filepath.Join(dir, source))
	})
}

// Compile runs secilc on the modules of a flavor and more, which are arguments of
// secilc: options and absolute names of files. Without -N it checks all neverallow rules.
func Compile(flavor string, more ...string) error {
	modules, err := Modules(flavor)
	if err != nil {
		return err
	}
	if err := installed("secilc"); err != nil {
		return err
	}
	args := append([]string{"-M", "true", "-f", os.DevNull}, more...)
	return run("/", "secilc", append(args, modules)...)
}

// Modules returns the path of all modules of a flavor in CIL, in one file.
func Modules(flavor string) (string, error) {
	return File(flavor, "modules.cil", func(tmp string) error {
		if err := installed(hll); err != nil {
			return err
		}
		names, err := Unpack(flavor, tmp)
		if err != nil {
			return err
		}
		out, err := os.Create(filepath.Join(tmp, "modules.cil"))
		if err != nil {
			return err
		}
		defer out.Close()
		for _, name := range names {
			if err := run(tmp, hll, name, name+".cil"); err != nil {
				return err
			}
			b, err := os.ReadFile(filepath.Join(tmp, name+".cil"))
			if err != nil {
				return err
			}
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return out.Close()
	})
}

// Unpack unpacks the modules of a flavor into dir and returns their file names,
// which end in .pp.
func Unpack(flavor, dir string) (names []string, err error) {
	files, err := filepath.Glob("/usr/share/selinux/" + flavor + "/*.pp.bz2")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("the modules of selinux-policy-%s are %w", flavor, ErrMissing)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".bz2")
		if err := unpack(f, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// File returns the path of a file of a flavor in the cache. Where it is not there
// yet, build makes a file of that name in the directory that it is given.
func File(flavor, name string, build func(dir string) error) (string, error) {
	dir, err := directory(flavor)
	if err != nil {
		return "", err
	}
	return inCache(dir, name, true, build)
}

// inCache is File in a directory; what is there and not fresh is replaced.
func inCache(dir, name string, fresh bool, build func(dir string) error) (string, error) {
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); err == nil && fresh {
		return file, nil
	}
	// In the same file system, so that the rename is atomic.
	tmp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := build(tmp); err != nil {
		return "", err
	}
	return file, os.Rename(filepath.Join(tmp, name), file)
}

// directory is the part of the cache for the installed version of a flavor.
func directory(flavor string) (string, error) {
	root, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "selinux-policy-"+flavor).Output()
	if err != nil || len(version) == 0 {
		return "", fmt.Errorf("the package selinux-policy-%s is %w", flavor, ErrMissing)
	}
	dir := filepath.Join(root, "sememcached-policy-test", flavor+"_"+strings.ReplaceAll(string(version), ":", "_"))
	return dir, os.MkdirAll(dir, 0o700)
}

func installed(tool string) error {
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%s is %w", tool, ErrMissing)
	}
	return nil
}

func unpack(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, bzip2.NewReader(in)); err != nil {
		out.Close()
		return fmt.Errorf("%s: %w", from, err)
	}
	return out.Close()
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-4000):])
	}
	return nil
}
