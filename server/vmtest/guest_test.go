//go:build vm && linux

package vmtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const sel = "/sys/fs/selinux"

// guest is the machine whose first process this is; nil on the host.
var guest *machine

// guestMain is process 1. It must not end: the kernel would panic.
func guestMain(m *testing.M) {
	status := 1
	defer func() {
		printAudit(os.Stdout)
		// Whatever happened: without a status of 0 it is a failure.
		fmt.Printf("@@END status=%d\n", status)
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}()
	if err := guestSetUp(); err != nil {
		fmt.Println("the guest's set-up:", err)
		return
	}
	out, err := exec.Command("/init", "-test.list", ".").Output()
	if err != nil {
		fmt.Println("the list of tests:", err)
		return
	}
	names, err := guest.tests(string(out), argument("vmtest", "."))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("@@PLAN %d\n", len(names))
	flag.Parse()
	for k, v := range map[string]string{
		"test.v": "true", "test.timeout": "20m", "test.run": "^(" + strings.Join(names, "|") + ")$",
	} {
		if err := flag.Set(k, v); err != nil {
			fmt.Println(err)
			return
		}
	}
	status = m.Run()
}

// argument is a word of the kernel's command line, name=value.
func argument(name, otherwise string) string {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	for f := range strings.FieldsSeq(string(cmdline)) {
		if v, ok := strings.CutPrefix(f, name+"="); ok {
			return v
		}
	}
	return otherwise
}

func guestSetUp() error {
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"}} {
		if err := unix.Mount(m[0], m[1], m[2], 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	for i := range machines {
		if machines[i].name == argument("vmmachine", "") {
			guest = &machines[i]
		}
	}
	if guest == nil {
		return errors.New("expected vmmachine=NAME on the kernel's command line")
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
	if err := os.WriteFile("/proc/sys/kernel/printk_ratelimit", []byte("0"), 0); err != nil {
		return err
	}
	if err := linkUp("lo"); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if guest.policy == "" {
		return nil
	}
	if err := unix.Mount("selinuxfs", sel, "selinuxfs", 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", sel, err)
	}
	beforePolicy()
	if err := loadPolicy(guest.policy); err != nil {
		return err
	}
	return readAudit()
}

// unready is what the server said where no policy had been loaded yet, by mode.
var unready = map[string]started{}

// started is the end of a server that ought not to have started.
type started struct {
	status int
	text   string
}

// beforePolicy starts servers while SELinux is on and has no policy.
func beforePolicy() {
	for _, mode := range []string{"auto", "kernel"} {
		cmd := exec.Command("/sememcached", "-u", "root", "-s", "/run/refused.sock", "--mac="+mode)
		out, _ := cmd.CombinedOutput()
		unready[mode] = started{cmd.ProcessState.ExitCode(), string(out)}
	}
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
	// Not by os.File: under an emulator its poller costs more than the question.
	fd, err := unix.Open(sel+"/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte(question)); err != nil {
		return "", err
	}
	var b [4096]byte
	n, err := unix.Read(fd, b[:])
	return strings.TrimRight(string(b[:max(n, 0)]), "\x00\n"), err
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
	if guest == nil {
		t.Skip("runs in the machine that TestVM boots")
	}
	if guest.policy != "main" {
		return
	}
	t.Cleanup(func() {
		must(t, write("enforce", []byte("1")))
		must(t, loadPolicy("main"))
		setBoolean(t, "vm_reader_writes", false)
	})
}

func must(t testing.TB, err error) {
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

// launch is how a process is started.
type launch struct {
	context string // "": this process's own
	user    string // of the server's -u
	mac     string // of the server's --mac; "": kernel
	netns   string // "": this process's own network namespace
	lacks   int    // a capability that it cannot have; 0: none (CAP_CHOWN is not asked for)
}

// start starts cmd. The threads that it changes are not used again.
func (l launch) start(cmd *exec.Cmd) error {
	if l.netns == "" && l.lacks == 0 {
		return startAs(cmd, l.context)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		started <- func() error {
			if l.netns != "" {
				ns, err := os.Open("/run/netns/" + l.netns)
				if err != nil {
					return err
				}
				defer ns.Close()
				if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
					return fmt.Errorf("setns: %w", err)
				}
			}
			if l.lacks != 0 {
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(l.lacks), 0, 0, 0); err != nil {
					return fmt.Errorf("prctl: %w", err)
				}
			}
			return startAs(cmd, l.context)
		}()
	}()
	return <-started
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

// run runs a program of the image and fails the test if it fails.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// insert loads the kernel's modules, those that are not loaded yet.
func insert(t *testing.T) {
	t.Helper()
	for _, m := range modules {
		f, err := os.Open("/modules/" + m + ".ko")
		must(t, err)
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatalf("module %s: %v", m, err)
		}
	}
}
