package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/bench/rig"
)

// machineReport says where the figures come from.
type machineReport struct {
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

func machine() machineReport {
	m := machineReport{Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: rig.Commit(), Date: time.Now().UTC().Truncate(time.Second)}
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

// versions asks every server for its version.
func versions(kinds []rig.Kind) map[string]string {
	out := map[string]string{}
	for _, k := range kinds {
		if k.Ceiling {
			continue
		}
		b, err := exec.Command(k.Argv[0], append(k.Argv[1:len(k.Argv):len(k.Argv)], "-V")...).Output()
		if err != nil {
			out[k.Name] = "unknown"
			continue
		}
		out[k.Name] = strings.TrimSpace(string(b))
	}
	return out
}

// commandLine is how the run can be repeated.
func commandLine(args []string) string {
	words := []string{"go run ./bench/sidebyside"}
	if r := os.Getenv("RIVALS"); r != "" {
		rivals := strings.Split(r, ";")
		for i, one := range rivals {
			name, command, _ := strings.Cut(one, "=")
			rivals[i] = name + "=" + plainCommand(command)
		}
		words[0] = fmt.Sprintf("RIVALS=%q ", strings.Join(rivals, ";")) + words[0]
	}
	for i := 0; i < len(args); i++ {
		// Where the binary was built does not matter.
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

// plainCommand is a server's command without the directories of its files.
func plainCommand(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if i == 0 || strings.HasPrefix(w, "/") {
			words[i] = filepath.Base(w)
		}
	}
	return strings.Join(words, " ")
}

func describe(s *settings) string {
	where := "nothing pinned"
	if s.pin {
		where = "the server pinned to core 0, the generator to core 1"
	}
	return fmt.Sprintf("%d repetitions of %v after %v of warming up; %d server thread(s), as many of the generator; %s; %s",
		s.reps, s.time, s.warm, s.threads, where, scheduling())
}

// scheduling is the scheduling policy of this process, which servers and generator
// inherit. Under a real-time policy (chrt -r 1) other processes of a shared machine
// disturb less.
func scheduling() string {
	const rr, fifo = 2, 1
	a, err := unix.SchedGetAttr(0, 0)
	if err == nil && (a.Policy == rr || a.Policy == fifo) {
		return "everything under real-time scheduling (chrt -r 1 before the command)"
	}
	return "ordinary scheduling"
}
