package mac

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lsm is what a look at the machine says.
type lsm uint8

const (
	selinuxOff     lsm = iota
	selinuxMounted     // a selinuxfs is there
	selinuxHidden      // on, or perhaps on, but its selinuxfs is not to be seen
)

const (
	defaultSELinuxFS = "/sys/fs/selinux"
	defaultProc      = "/proc"
)

func (cfg *Config) selinuxfs() string {
	if cfg.SELinuxFS != "" {
		return cfg.SELinuxFS
	}
	return defaultSELinuxFS
}

func (cfg *Config) proc() string {
	if cfg.ProcRoot != "" {
		return cfg.ProcRoot
	}
	return defaultProc
}

// look finds out whether SELinux is on. A kernel with SELinux compiled in and
// not started does not register selinuxfs, so /proc/filesystems tells, even where
// a container does not see /sys/fs/selinux. What cannot be found out counts as
// hidden: nothing is taken for off that may be on. /etc/selinux proves nothing.
func (cfg *Config) look() lsm {
	if cfg.mounted() {
		return selinuxMounted
	}
	b, err := os.ReadFile(filepath.Join(cfg.proc(), "filesystems"))
	if err != nil {
		return selinuxHidden
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 0 && string(f[len(f)-1]) == "selinuxfs" {
			return selinuxHidden
		}
	}
	return selinuxOff
}

// mounted reports whether the root is a selinuxfs. One that was named for a
// test is taken as it is if it has the one file that each has.
func (cfg *Config) mounted() bool {
	if cfg.SELinuxFS != "" {
		_, err := os.Stat(filepath.Join(cfg.SELinuxFS, "enforce"))
		return !errors.Is(err, fs.ErrNotExist)
	}
	var st unix.Statfs_t
	for {
		err := unix.Statfs(defaultSELinuxFS, &st)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && uint32(st.Type) == unix.SELINUX_MAGIC
		}
	}
}

const (
	choicePolicy = "--mac=policy decides by a policy file (--policy FILE) or the built-in policy"
	choiceOff    = "--mac=off switches access control off"
	installHint  = "install the module that defines them: sememcached policy module > sememcached.cil && semodule -i sememcached.cil"
)

// Whoever asks for a decider gets one or no server: these are all the ways to be
// without one, and each refuses to start, with ExitConfig and a text that says
// what is wrong and what to do. Only Off, which must be asked for by name, is a
// server without a decider, and it says so.
//
//	no mode, or none that there is            Open, ParseMode
//	SELinux off, and the kernel asked for     choose
//	on and hidden, or that cannot be told     choose, look
//	on and no policy loaded                   kernelState: no unlabeled context, no classes
//	a class or a permission of ours missing   refuseMissing, for kernel and file alike
//	selinuxfs unreadable, or makes no sense   kernelState
//	compute_av or check_context forbidden     kernelState
//	the kernel's state never settles          rebuild
//	its changes cannot be noticed             startKernel: no status page and no netlink
//	the server's own context unknown          kernelServer, fileState
//	policy file missing, bad or contradicted  loadFile, choose
//	a switch that the decider does not have   loadFile, choose
//	contexts file missing, bad or unknown     loadContexts, bind
//	no room for the contexts                  adopt
//	an audit log that cannot be opened        openSink
//
// choose says who decides, or refuses. It is the whole table of ways to start;
// that the kernel defines our classes is checked when its state is read.
//
//	selinuxfs                       auto             kernel    policy
//	mounted, classes defined        kernel           kernel    policy file or built-in
//	mounted, classes not defined    refuses          refuses   policy file or built-in
//	hidden though SELinux is on     refuses          refuses   policy file or built-in
//	SELinux off                     policy file or   refuses   policy file or built-in
//	                                built-in
func (m *Monitor) choose() (deciderKind, error) {
	cfg := &m.cfg
	var peers peerLabels
	switch cfg.PeerLabels {
	case "":
	case "kernel":
		peers = peersKernel
	default:
		return 0, refuse(`--peer-labels: expected kernel, found %q`, cfg.PeerLabels)
	}
	file := decidesBuiltin
	if cfg.PolicyFile != "" {
		file = decidesFile
	}
	var kind deciderKind
	switch found := cfg.look(); cfg.Mode {
	case Off:
		return decidesNobody, nil
	case PolicyFile:
		kind = file
		if peers == peersKernel && found != selinuxMounted {
			return 0, refuse("--peer-labels=kernel needs SELinux, and %s", unseen(found, cfg))
		}
	case Kernel, Auto:
		switch {
		case found == selinuxMounted:
			kind = decidesKernel
		case found == selinuxOff && cfg.Mode == Auto:
			kind = file
			if peers == peersKernel {
				return 0, refuse("--peer-labels=kernel needs SELinux, and %s", unseen(found, cfg))
			}
		case found == selinuxOff:
			return 0, refuse("--mac=kernel needs SELinux, and %s; %s; %s", unseen(found, cfg), choicePolicy, choiceOff)
		default:
			return 0, refuse("%s; mount it (in a container: bind-mount %s), or choose: %s; %s",
				unseen(found, cfg), defaultSELinuxFS, choicePolicy, choiceOff)
		}
	default:
		return 0, refuse("expected a mode (%s), found %v", strings.Join(modeNames[Auto:], ", "), cfg.Mode)
	}
	m.peers = peers
	if kind == decidesKernel {
		m.peers = peersKernel
		switch {
		case cfg.Permissive:
			return 0, refuse("--permissive is for a policy file, and here the kernel decides: see setenforce(8) and semanage-permissive(8), or choose --mac=policy")
		case len(cfg.Booleans) > 0:
			return 0, refuse("--boolean is for a policy file, and here the kernel decides: see setsebool(8), or choose --mac=policy")
		case cfg.PolicyFile != "" && cfg.Mode == Kernel:
			return 0, refuse("--policy and --mac=kernel contradict each other: choose --mac=policy, or leave --policy out")
		case cfg.PolicyFile != "":
			m.log.Warn("mac: the kernel decides; the policy file is not used", "file", cfg.PolicyFile)
		}
	}
	return kind, nil
}

func unseen(s lsm, cfg *Config) string {
	if s == selinuxOff {
		return "SELinux is off here"
	}
	return "SELinux is on here, as far as " + filepath.Join(cfg.proc(), "filesystems") + " tells, but no selinuxfs is to be seen at " + cfg.selinuxfs()
}

// refuseMissing is the refusal of a policy without our classes.
func (m *Monitor) refuseMissing(missing []string) error {
	list := strings.Join(missing, " ")
	if m.decider == decidesKernel {
		return refuse("the kernel's policy does not define %s; %s; or choose: %s; %s", list, installHint, choicePolicy, choiceOff)
	}
	return refuse("%s does not define %s; sememcached policy module prints the classes and rules to add", m.cfg.PolicyFile, list)
}
