package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"sememcached/policy"
)

// serverTimeout bounds each question to a running server.
const serverTimeout = 10 * time.Second

// maxExplanation bounds what a server may answer, in bytes.
const maxExplanation = 1 << 20

// explainByServer asks a running server about its own state: why the
// connection that asks may or may not use permissions on an item. addr is host:port,
// or the path of a UNIX socket.
func explainByServer(t *terminal, addr, key string, perms []string, asJSON bool) error {
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	if strings.ContainsAny(key+strings.Join(perms, ""), " \r\n\x00") {
		return errors.New("expected a key and permissions without blanks")
	}
	conn, err := net.DialTimeout(network, addr, serverTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(serverTimeout)); err != nil {
		return err
	}
	ask := "mac explain " + key + " " + strings.Join(perms, " ")
	if asJSON {
		ask += " json"
	}
	if _, err := io.WriteString(conn, ask+"\r\n"); err != nil {
		return err
	}
	text, err := readExplanation(bufio.NewReader(conn), key)
	if err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	if asJSON {
		// As it is: for programs, whatever else a newer server says.
		var e policy.Explanation
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
		if _, err := io.WriteString(t.out, text); err != nil {
			return err
		}
		return explained(e.Allowed, e.Failed)
	}
	if err := t.write(text); err != nil {
		return err
	}
	return explained(strings.HasPrefix(text, "allowed"), !strings.HasPrefix(text, "denied"))
}

// explained is how an explanation ends.
func explained(allowed, failed bool) error {
	switch {
	case allowed:
		return nil
	case failed:
		return exitf(exitNoAnswer, "")
	}
	return no()
}

// readExplanation reads EXPLAIN <key> <bytes>, the text, and END.
func readExplanation(r *bufio.Reader, key string) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	rest, ok := strings.CutPrefix(line, "EXPLAIN "+key+" ")
	if !ok {
		switch line {
		case "NOT_FOUND":
			return "", fmt.Errorf("no item has the key %q", key)
		case "CLIENT_ERROR access denied":
			return "", errors.New("access denied: mac explain needs kv_server config")
		case "ERROR":
			return "", errors.New("expected a sememcached with access control, found a server without mac explain")
		}
		return "", fmt.Errorf("expected EXPLAIN, found %q", line)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 || n > maxExplanation {
		return "", fmt.Errorf("expected a length of up to %d, found %q", maxExplanation, rest)
	}
	b := make([]byte, n+len("\r\nEND\r\n"))
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(b), "\r\nEND\r\n")
	if !ok {
		return "", errors.New("expected END after the explanation")
	}
	return text, nil
}
