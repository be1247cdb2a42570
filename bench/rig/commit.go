package rig

import (
	"os/exec"
	"strings"
)

// Commit is the revision of the working tree, with a plus sign if files of it
// have been changed.
func Commit() string {
	rev, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	out := strings.TrimSpace(string(rev))
	if exec.Command("git", "diff", "--quiet", "HEAD").Run() != nil {
		out += "+"
	}
	return out
}
