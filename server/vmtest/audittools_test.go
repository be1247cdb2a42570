//go:build vm && linux

package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// recordTypes are the names that auditd writes for the types of records.
var recordTypes = map[string]string{
	"1107": "USER_AVC", "1400": "AVC", "1403": "MAC_POLICY_LOAD", "1404": "MAC_STATUS", "1405": "MAC_CONFIG_CHANGE",
	"2310": "USER_MAC_POLICY_LOAD", "2313": "USER_MAC_STATUS", "1300": "SYSCALL", "1327": "PROCTITLE", "1305": "CONFIG_CHANGE",
}

var kernelRecord = regexp.MustCompile(`^type=(\d+) (audit\(.*)$`)

// auditdLine is a record as auditd would have written it. A record of the kernel's
// stream has a number for its type; one of a server's own log is as it must be.
func auditdLine(record string) string {
	m := kernelRecord.FindStringSubmatch(record)
	if m == nil {
		return record
	}
	name := recordTypes[m[1]]
	if name == "" {
		name = "UNKNOWN[" + m[1] + "]"
	}
	return "type=" + name + " msg=" + m[2]
}

// ourDenials counts the records of denials, and of grants, that the servers of
// the run have made.
func ourRecords(log []string) (denials, grants int) {
	for _, line := range log {
		if strings.HasPrefix(line, "type=USER_AVC ") {
			denials += strings.Count(line, "avc:  denied ")
			grants += strings.Count(line, "avc:  granted ")
		}
	}
	return denials, grants
}

// ausearch runs Debian's ausearch over a log and returns the records of a type.
func ausearch(file, kind string) (string, error) {
	out, err := exec.Command("ausearch", "-if", file, "-m", kind, "--raw").Output()
	if err != nil {
		return "", fmt.Errorf("ausearch -m %s: %w", kind, err)
	}
	return string(out), nil
}

// rulesFor runs Debian's audit2allow over records and returns the rules that it
// suggests, sorted. policy is the one that was in force: by it the program tells
// what a constraint or a boolean forbids from what has no rule.
func rulesFor(records, policy string) ([]string, error) {
	f, err := os.CreateTemp("", "denials")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(records); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("audit2allow", "-p", policy, "-i", f.Name())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("audit2allow: %w\n%s", err, complaints.String())
	}
	var rules []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "allow ") {
			rules = append(rules, line)
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules), nil
}
