//go:build vm && linux

package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// image is an initramfs in the making: an uncompressed cpio archive of the newc
// form (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
type image struct {
	b    bytes.Buffer
	ino  int
	dirs map[string]bool
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeChar = 0o020600
)

func newImage() *image {
	m := &image{dirs: map[string]bool{"": true}}
	m.entry("dev/console", modeChar, nil, 5, 1)
	for _, d := range []string{"proc", "sys", "run", "tmp", "etc"} {
		m.dir(d)
	}
	m.file("etc/passwd", []byte("root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n"))
	return m
}

func (m *image) dir(name string) {
	name = strings.Trim(name, "/.")
	if m.dirs[name] {
		return
	}
	m.dirs[name] = true
	m.entry(name, modeDir, nil, 0, 0)
}

func (m *image) file(name string, data []byte) { m.entry(name, modeFile, data, 0, 0) }

// copy adds a file of this machine.
func (m *image) copy(name, from string) error {
	b, err := os.ReadFile(from)
	if err == nil {
		m.file(name, b)
	}
	return err
}

func (m *image) entry(name string, mode int, data []byte, major, minor int) {
	name = strings.Trim(name, "/")
	if name != "TRAILER!!!" {
		if parent := path.Dir(name); parent != "." {
			if !m.dirs[parent] {
				m.dir(path.Dir(parent))
			}
			m.dir(parent)
		}
		m.ino++
	}
	fmt.Fprintf(&m.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		m.ino, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	m.b.WriteString(name)
	m.b.WriteByte(0)
	m.pad()
	m.b.Write(data)
	m.pad()
}

func (m *image) pad() {
	for m.b.Len()%4 != 0 {
		m.b.WriteByte(0)
	}
}

func (m *image) bytes() []byte {
	m.entry("TRAILER!!!", 0, nil, 0, 0)
	return m.b.Bytes()
}

// program adds a dynamically linked program of this machine with its libraries,
// under the same paths.
func (m *image) program(file string) error {
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		return fmt.Errorf("ldd %s: %w", file, err)
	}
	files := map[string]bool{file: true}
	for line := range strings.Lines(string(out)) {
		for f := range strings.FieldsSeq(line) {
			if strings.HasPrefix(f, "/") {
				files[f] = true
			}
		}
	}
	var names []string
	for f := range files {
		names = append(names, f)
	}
	sort.Strings(names)
	for _, f := range names {
		if err := m.copy(f, f); err != nil {
			return err
		}
	}
	return nil
}

// modules are the kernel modules of labelled IPsec and of virtual networks, in
// the order in which they are loaded. Nobody resolves dependencies: the package's
// modules.dep is made when it is installed.
var modules = []string{"xfrm_algo", "xfrm_user", "ah4", "esp4", "drbg", "authenc", "echainiv", "veth"}

// kernelImage is the path of Debian's kernel for clouds, from the cache or
// downloaded into it. Its modules are in the directory modules beside it.
func kernelImage() (string, error) {
	if f := os.Getenv("VMTEST_KERNEL"); f != "" {
		return f, nil
	}
	root, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, "sememcached-vm")
	pkg, version, err := kernelPackage()
	if err != nil {
		// Without the lists of packages, what was downloaded before will do.
		old, _ := filepath.Glob(filepath.Join(cache, "*", "vmlinuz"))
		for _, f := range old {
			if complete(filepath.Dir(f)) {
				return f, nil
			}
		}
		return "", err
	}
	dir := filepath.Join(cache, pkg+"_"+strings.ReplaceAll(version, ":", "_"))
	file := filepath.Join(dir, "vmlinuz")
	if complete(dir) {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "download")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := in(tmp, "apt-get", "download", pkg+"="+version); err != nil {
		return "", err
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s: expected one package, found %d", pkg, len(debs))
	}
	if err := in(tmp, "dpkg-deb", "-x", debs[0], "."); err != nil {
		return "", err
	}
	images, _ := filepath.Glob(filepath.Join(tmp, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return "", fmt.Errorf("%s: expected one boot/vmlinuz-*, found %d", pkg, len(images))
	}
	if err := keepModules(filepath.Join(tmp, "lib", "modules"), filepath.Join(dir, "modules")); err != nil {
		return "", fmt.Errorf("%s: %w", pkg, err)
	}
	return file, os.Rename(images[0], file)
}

// complete reports whether a directory of the cache holds a kernel with every
// module.
func complete(dir string) bool {
	for _, m := range modules {
		if _, err := os.Stat(filepath.Join(dir, "modules", m+".ko")); err != nil {
			return false
		}
	}
	_, err := os.Stat(filepath.Join(dir, "vmlinuz"))
	return err == nil
}

// keepModules moves the modules that are needed out of an unpacked package.
func keepModules(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	found := map[string]string{}
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		found[filepath.Base(name)] = name
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range modules {
		name, ok := found[m+".ko"]
		if !ok {
			return fmt.Errorf("expected a module %s.ko, found none", m)
		}
		if err := os.Rename(name, filepath.Join(to, m+".ko")); err != nil {
			return err
		}
	}
	return nil
}

// kernelPackage is the package that linux-image-cloud-amd64 stands for.
func kernelPackage() (pkg, version string, err error) {
	out, err := exec.Command("apt-cache", "depends", "linux-image-cloud-amd64").Output()
	if err != nil {
		return "", "", fmt.Errorf("apt-cache: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "Depends:" {
			pkg = f[1]
		}
	}
	if pkg == "" {
		return "", "", errors.New("linux-image-cloud-amd64: expected a dependency on a kernel, found none")
	}
	out, err = exec.Command("apt-cache", "show", "--no-all-versions", pkg).Output()
	if err != nil {
		return "", "", fmt.Errorf("apt-cache show %s: %w", pkg, err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			return pkg, strings.TrimSpace(v), nil
		}
	}
	return "", "", fmt.Errorf("apt-cache show %s: expected a version, found none", pkg)
}

func in(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
