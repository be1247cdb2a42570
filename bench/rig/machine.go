package rig

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says where the figures come from.
type Machine struct {
	Processor string    `json:"processor"`
	Cores     int       `json:"cores"`
	MemoryMB  uint64    `json:"memory_mb"`
	Kernel    string    `json:"kernel"`
	Virtual   bool      `json:"virtual"`
	Load      string    `json:"load_average_at_start"`
	Go        string    `json:"go"`
	Commit    string    `json:"commit"`
	Date      time.Time `json:"date"`
}

// ThisMachine describes the machine that this process runs on.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: Commit(), Date: time.Now().UTC().Truncate(time.Second)}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.MemoryMB = si.Totalram * uint64(si.Unit) >> 20
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(k) {
			case "model name":
				m.Processor = strings.TrimSpace(v)
			case "flags":
				m.Virtual = m.Virtual || strings.Contains(v, " hypervisor ")
			}
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return m
}

// Heading writes the beginning of a report in Markdown: its title, the command that
// repeats it, the commit, and the machine.
func Heading(w io.Writer, title, command string, args []string) {
	m := ThisMachine()
	fmt.Fprintf(w, "# %s\n\n- command: `%s`\n- commit: %s, %s\n- machine: %s\n- %s\n", title, CommandLine(command, args), m.Commit, m.Date.Format(time.RFC3339), m, Scheduling())
}

// String is the machine in a line.
func (m Machine) String() string {
	virtual := ""
	if m.Virtual {
		virtual = ", virtual"
	}
	return fmt.Sprintf("%s, %d cores%s, %d MB, Linux %s, %s; load average at the start %s",
		m.Processor, m.Cores, virtual, m.MemoryMB, m.Kernel, m.Go, m.Load)
}

// CommandLine is how a run can be repeated: command and args, but for the binary that was measured,
// since where it was built does not matter.
func CommandLine(command string, args []string) string {
	words := []string{command}
	for i := 0; i < len(args); i++ {
		switch name := strings.TrimLeft(args[i], "-"); {
		case name == "server":
			i++
		case strings.HasPrefix(name, "server="):
		default:
			words = append(words, args[i])
		}
	}
	return strings.Join(words, " ")
}

// PlainCommand is a server's command without the directories of its files.
func PlainCommand(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if i == 0 || strings.HasPrefix(w, "/") {
			words[i] = filepath.Base(w)
		}
	}
	return strings.Join(words, " ")
}

// Scheduling is the scheduling policy of this process, which servers and generator
// inherit. Under a real-time policy (chrt -r 1) other processes of a shared machine
// disturb less.
func Scheduling() string {
	const rr, fifo = 2, 1
	a, err := unix.SchedGetAttr(0, 0)
	if err == nil && (a.Policy == rr || a.Policy == fifo) {
		return "everything under real-time scheduling (chrt -r 1 before the command)"
	}
	return "ordinary scheduling"
}
