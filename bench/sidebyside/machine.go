package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sememcached/bench/rig"
)

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
	command := "go run ./bench/sidebyside"
	if r := os.Getenv("RIVALS"); r != "" {
		rivals := strings.Split(r, ";")
		for i, one := range rivals {
			name, command, _ := strings.Cut(one, "=")
			rivals[i] = name + "=" + rig.PlainCommand(command)
		}
		command = fmt.Sprintf("RIVALS=%q ", strings.Join(rivals, ";")) + command
	}
	return rig.CommandLine(command, args)
}

func describe(s *settings) string {
	where := "nothing pinned"
	if s.pin {
		where = "the server pinned to core 0, the generator to core 1"
	}
	return fmt.Sprintf("%d repetitions of %v after %v of warming up; %d server thread(s), as many of the generator; %s; %s",
		s.reps, s.time, s.warm, s.threads, where, rig.Scheduling())
}
