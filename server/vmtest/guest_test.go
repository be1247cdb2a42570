//go:build vm && linux

package vmtest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const sel = "/sys/fs/selinux"

// guest says that this process is the guest's first one.
var guest bool

// guestMain is process 1. It must not end: the kernel would panic.
func guestMain(m *testing.M) {
	guest = true
	status := 1
	defer func() {
		// Whatever happened: without a status of 0 it is a failure.
		fmt.Printf("@@END status=%d\n", status)
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}()
	if err := guestSetUp(); err != nil {
		fmt.Println("the guest's set-up:", err)
		return
	}
	pattern := "."
	cmdline, _ := os.ReadFile("/proc/cmdline")
	for f := range strings.FieldsSeq(string(cmdline)) {
		if v, ok := strings.CutPrefix(f, "vmtest="); ok {
			pattern = v
		}
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := exec.Command("/init", "-test.list", "^TestGuest").Output()
	if err != nil {
		fmt.Println("the list of tests:", err)
		return
	}
	var names []string
	for n := range strings.FieldsSeq(string(out)) {
		if re.MatchString(n) {
			names = append(names, n)
		}
	}
	fmt.Printf("@@PLAN %d\n", len(names))
	flag.Parse()
	for k, v := range map[string]string{
		"test.v": "true", "test.timeout": "8m", "test.run": "^(" + strings.Join(names, "|") + ")$",
	} {
		if err := flag.Set(k, v); err != nil {
			fmt.Println(err)
			return
		}
	}
	status = m.Run()
}

func guestSetUp() error {
	for _, m := range [][3]string{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"}, {"selinuxfs", sel, "selinuxfs"},
	} {
		if err := unix.Mount(m[0], m[1], m[2], 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	// Results go over a line that the kernel does not write to.
	tty, err := os.OpenFile("/dev/ttyS1", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if tio, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err == nil {
		tio.Oflag &^= unix.OPOST
		_ = unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, tio)
	}
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup3(int(tty.Fd()), fd, 0); err != nil {
			return err
		}
	}
	if err := os.Setenv("PATH", "/"); err != nil {
		return err
	}
	if err := loadPolicy("main"); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/kernel/printk_ratelimit", []byte("0"), 0); err != nil {
		return err
	}
	if err := linkUp("lo"); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return readAudit()
}

// linkUp switches a network interface on.
func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// loadPolicy puts a policy into force; it is so when this returns.
func loadPolicy(name string) error { return loadFile("/policy/" + name + ".bin") }

func loadFile(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return write("load", b)
}

// write writes to a file of selinuxfs, at once.
func write(name string, b []byte) error {
	f, err := os.OpenFile(sel+"/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = f.Write(b)
	return err
}

// ask is a question to the kernel and its answer.
func ask(name, question string) (string, error) {
	f, err := os.OpenFile(sel+"/"+name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(question); err != nil {
		return "", err
	}
	b := make([]byte, 4096)
	n, err := f.Read(b)
	return strings.TrimRight(string(b[:n]), "\x00\n"), err
}

// content is a file of selinuxfs.
func content(name string) string {
	b, err := os.ReadFile(sel + "/" + name)
	if err != nil {
		return err.Error()
	}
	return strings.TrimRight(string(b), "\x00\n")
}

func classIndex(class string) int {
	n, _ := strconv.Atoi(content("class/" + class + "/index"))
	return n
}

// inGuest skips on the host, and puts the kernel's state back afterwards.
func inGuest(t *testing.T) {
	t.Helper()
	if !guest {
		t.Skip("runs in the machine that TestVM boots")
	}
	t.Cleanup(func() {
		must(t, write("enforce", []byte("1")))
		must(t, loadPolicy("main"))
		setBoolean(t, "vm_reader_writes", false)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func setBoolean(t *testing.T, name string, on bool) {
	t.Helper()
	v := "0"
	if on {
		v = "1"
	}
	must(t, write("booleans/"+name, []byte(v)))
	must(t, write("commit_pending_bools", []byte("1")))
}

func load(t *testing.T, name string) {
	t.Helper()
	must(t, loadPolicy(name))
}

// startAs starts cmd as a process of another context, or of this one's for "".
func startAs(cmd *exec.Cmd, context string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const exec = "/proc/thread-self/attr/exec"
	if context != "" {
		if err := os.WriteFile(exec, []byte(context), 0); err != nil {
			return fmt.Errorf("%s: %w", context, err)
		}
		defer func() { _ = os.WriteFile(exec, []byte{0}, 0) }()
	}
	return cmd.Start()
}
