// Package debpolicy builds Debian's SELinux policies with the classes of ours
// added, as test data: 4,400 types and 2.3 MB, what a real machine loads. It is
// test support; no product code imports it.
//
// The packages selinux-policy-default and selinux-policy-mls ship modules. They
// are turned into CIL by Debian's hll/pp and compiled by secilc, which takes
// twenty seconds; the result is kept in the user's cache under the version of
// the package.
package debpolicy

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const hll = "/usr/libexec/selinux/hll/pp"

// ErrMissing says that a package or a tool is not installed; the text has its name.
var ErrMissing = errors.New("not installed")

// Build returns the path of the compiled policy of a flavor, default or mls,
// version 33, with the CIL of file added.
func Build(flavor, cil string) (string, error) { return BuildAs("kv", flavor, cil) }

// BuildAs is Build for policies that are kept beside each other, each under a
// name of its own.
func BuildAs(name, flavor, cil string) (string, error) {
	root, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "selinux-policy-"+flavor).Output()
	if err != nil || len(version) == 0 {
		return "", fmt.Errorf("the package selinux-policy-%s is %w", flavor, ErrMissing)
	}
	added, err := os.ReadFile(cil)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "sememcached-policy-test", flavor+"_"+strings.ReplaceAll(string(version), ":", "_"))
	want, file := filepath.Join(dir, name+".cil"), filepath.Join(dir, name+".v33.bin")
	if old, err := os.ReadFile(want); err == nil && string(old) == string(added) {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := build(tmp, flavor, added); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(tmp, "kv.v33.bin"), file); err != nil {
		return "", err
	}
	return file, os.Rename(filepath.Join(tmp, "kv.cil"), want)
}

// build compiles the policy in dir.
func build(dir, flavor string, added []byte) error {
	for _, tool := range []string{"secilc", hll} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is %w", tool, ErrMissing)
		}
	}
	files, err := filepath.Glob("/usr/share/selinux/" + flavor + "/*.pp.bz2")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("the modules of selinux-policy-%s are %w", flavor, ErrMissing)
	}
	args := []string{"-M", "true", "-c", "33", "-o", "kv.v33.bin", "-f", os.DevNull, "kv.cil"}
	if err := os.WriteFile(filepath.Join(dir, "kv.cil"), added, 0o600); err != nil {
		return err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".bz2")
		if err := unpack(f, filepath.Join(dir, name)); err != nil {
			return err
		}
		if err := run(dir, hll, name, name+".cil"); err != nil {
			return err
		}
		args = append(args, name+".cil")
	}
	return run(dir, "secilc", args...)
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
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
