package rig

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Version is what a server says of itself with -V.
func Version(k Kind) (string, error) {
	out, err := exec.Command(k.Argv[0], "-V").Output()
	if err != nil {
		return "", fmt.Errorf("rig: %s -V: %w", k.Argv[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// HugePages is the system's setting of transparent huge pages.
func HugePages() string {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return "no transparent huge pages"
	}
	_, rest, _ := strings.Cut(string(b), "[")
	word, _, _ := strings.Cut(rest, "]")
	return "transparent huge pages " + word
}
