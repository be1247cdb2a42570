package main

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/avc"
)

// binaryRow is a row of the command table in the binary protocol: what an opcode
// needs, and the status of its answer. "-" is silence; withKey says that the
// answer to a miss repeats the key instead of saying so in words.
type binaryRow struct {
	name    string
	opcode  byte
	extras  string
	value   string
	cas     int // 0 none, 1 the item's, 2 another
	exists  avc.Perms
	absent  avc.Perms
	server  avc.Perms
	keyless bool
	withKey bool
	present string // status in hexadecimal
	missing string
	denied  string
	create  string
}

var (
	setExtras  = u32(1) + u32(0)
	incrExtras = u64(5) + u64(7) + u32(0xffffffff)
	makeExtras = u64(5) + u64(7) + u32(0)
)

var binaryRows = []binaryRow{
	{name: "get", opcode: 0x00, exists: avc.Read, present: "00", missing: "01", denied: "01"},
	{name: "getq", opcode: 0x09, exists: avc.Read, present: "00", missing: "-", denied: "-"},
	{name: "getk", opcode: 0x0c, exists: avc.Read, withKey: true, present: "00", missing: "01", denied: "01"},
	{name: "getkq", opcode: 0x0d, exists: avc.Read, present: "00", missing: "-", denied: "-"},
	{name: "set", opcode: 0x01, extras: setExtras, value: "x", exists: avc.Write, absent: avc.Create, present: "00", missing: "00", denied: "24", create: "24"},
	{name: "setq", opcode: 0x11, extras: setExtras, value: "x", exists: avc.Write, absent: avc.Create, present: "-", missing: "-", denied: "24", create: "24"},
	{name: "set cas", opcode: 0x01, extras: setExtras, value: "x", cas: 1, exists: avc.Write, present: "00", missing: "01", denied: "01"},
	{name: "set bad cas", opcode: 0x01, extras: setExtras, value: "x", cas: 2, exists: avc.Write, present: "02", missing: "01", denied: "01"},
	{name: "setq cas", opcode: 0x11, extras: setExtras, value: "x", cas: 1, exists: avc.Write, present: "-", missing: "01", denied: "01"},
	{name: "add", opcode: 0x02, extras: setExtras, value: "x", exists: avc.Getattr, absent: avc.Create, present: "02", missing: "00", denied: "24", create: "24"},
	{name: "addq", opcode: 0x12, extras: setExtras, value: "x", exists: avc.Getattr, absent: avc.Create, present: "02", missing: "-", denied: "24", create: "24"},
	{name: "replace", opcode: 0x03, extras: setExtras, value: "x", exists: avc.Write, present: "00", missing: "01", denied: "01"},
	{name: "replaceq", opcode: 0x13, extras: setExtras, value: "x", exists: avc.Write, present: "-", missing: "01", denied: "01"},
	{name: "append", opcode: 0x0e, value: "x", exists: avc.Append, present: "00", missing: "05", denied: "05"},
	{name: "appendq", opcode: 0x19, value: "x", exists: avc.Append, present: "-", missing: "05", denied: "05"},
	{name: "append bad cas", opcode: 0x0e, value: "x", cas: 2, exists: avc.Append, present: "02", missing: "05", denied: "05"},
	{name: "prepend", opcode: 0x0f, value: "x", exists: avc.Append, present: "00", missing: "05", denied: "05"},
	{name: "prependq", opcode: 0x1a, value: "x", exists: avc.Append, present: "-", missing: "05", denied: "05"},
	{name: "delete", opcode: 0x04, exists: avc.Remove, present: "00", missing: "01", denied: "01"},
	{name: "delete cas", opcode: 0x04, cas: 1, exists: avc.Remove, present: "00", missing: "01", denied: "01"},
	{name: "delete bad cas", opcode: 0x04, cas: 2, exists: avc.Remove, present: "02", missing: "01", denied: "01"},
	{name: "deleteq", opcode: 0x14, exists: avc.Remove, present: "-", missing: "01", denied: "01"},
	{name: "incr", opcode: 0x05, extras: incrExtras, exists: avc.Calculate, present: "00", missing: "01", denied: "01"},
	{name: "incrq", opcode: 0x15, extras: incrExtras, exists: avc.Calculate, present: "-", missing: "01", denied: "01"},
	{name: "incr that makes", opcode: 0x05, extras: makeExtras, exists: avc.Calculate, absent: avc.Create, present: "00", missing: "00", denied: "24", create: "24"},
	{name: "incrq that makes", opcode: 0x15, extras: makeExtras, exists: avc.Calculate, absent: avc.Create, present: "-", missing: "-", denied: "24", create: "24"},
	{name: "decr", opcode: 0x06, extras: incrExtras, exists: avc.Calculate, present: "00", missing: "01", denied: "01"},
	{name: "decrq", opcode: 0x16, extras: incrExtras, exists: avc.Calculate, present: "-", missing: "01", denied: "01"},
	{name: "decr that makes", opcode: 0x06, extras: makeExtras, exists: avc.Calculate, absent: avc.Create, present: "00", missing: "00", denied: "24", create: "24"},
	{name: "touch", opcode: 0x1c, extras: u32(100), exists: avc.Setattr, present: "00", missing: "01", denied: "01"},
	{name: "gat", opcode: 0x1d, extras: u32(100), exists: avc.Read | avc.Setattr, present: "00", missing: "01", denied: "01"},
	{name: "gatq", opcode: 0x1e, extras: u32(100), exists: avc.Read | avc.Setattr, present: "00", missing: "-", denied: "-"},
	{name: "gatk", opcode: 0x23, extras: u32(100), exists: avc.Read | avc.Setattr, withKey: true, present: "00", missing: "01", denied: "01"},
	{name: "gatkq", opcode: 0x24, extras: u32(100), exists: avc.Read | avc.Setattr, present: "00", missing: "-", denied: "-"},
	{name: "flush", opcode: 0x08, keyless: true, server: avc.ServerFlush, present: "00"},
	{name: "flush delayed", opcode: 0x08, extras: u32(100), keyless: true, server: avc.ServerFlush, present: "00"},
	{name: "flushq", opcode: 0x18, keyless: true, server: avc.ServerFlush, present: "-"},
	{name: "stat", opcode: 0x10, keyless: true, server: avc.ServerStats, present: "00"},
	{name: "version", opcode: 0x0b, keyless: true, present: "00"},
}

// TestCommandTableBinary is TestCommandTable for the binary protocol.
func TestCommandTableBinary(t *testing.T) {
	cil, lacks, contexts := tablePolicy()
	ts := startServer(t, testConfig{policy: compileCIL(t, cil), contexts: contexts})
	cases := 0
	for i := range binaryRows {
		row := &binaryRows[i]
		t.Run(row.name, func(t *testing.T) {
			bt := &binaryTable{t: t, ts: ts, row: row, admin: ts.dialFrom(lacks(0, 0))}
			bt.run(lacks)
			cases += bt.cases
		})
	}
	t.Logf("%d cases", cases)
	const planned = 153
	if cases != planned {
		t.Errorf("%d cases were run, the plan is %d", cases, planned)
	}
}

type binaryTable struct {
	t     *testing.T
	ts    *testServer
	row   *binaryRow
	admin *client
	cases int
}

func (bt *binaryTable) run(lacks func(avc.Class, avc.Perms) string) {
	r := bt.row
	full := lacks(0, 0)
	bt.one("allowed, item there", full, true, r.present, "")
	if !r.keyless {
		bt.one("allowed, no item", full, false, r.missing, "")
	}
	for p := avc.Perms(1); p != 0 && p <= r.exists; p <<= 1 {
		if r.exists&p == 0 {
			continue
		}
		name := avc.ClassItem.PermNames(p)[0]
		denied := bt.one("denied "+name, lacks(avc.ClassItem, p), true, r.denied, name)
		if r.absent == 0 {
			if absent := bt.one("denied and absent", lacks(avc.ClassItem, p), false, r.missing, ""); absent != denied {
				bt.t.Errorf("a denial %s differs from an absent item %s", denied, absent)
			}
		}
	}
	if r.absent != 0 {
		bt.one("denied create", lacks(avc.ClassItem, avc.Create), false, r.create, "create")
	}
	if r.server != 0 {
		name := avc.ClassServer.PermNames(r.server)[0]
		bt.one("denied "+name, lacks(avc.ClassServer, r.server), true, "24", name)
	}
}

// one runs one case and returns the answer, all of it.
func (bt *binaryTable) one(name, from string, present bool, want, perm string) string {
	t, r := bt.t, bt.row
	t.Helper()
	bt.cases++
	bt.admin.ask("delete k\r\n")
	if present {
		bt.admin.want("set k 5 0 2\r\n10\r\n", "STORED\r\n")
	}
	before := bt.admin.ask("gets k\r\n")
	cas := uint64(0)
	if r.cas == 2 {
		cas = 1 << 60
	} else if r.cas == 1 {
		cas = 7
		if present {
			fmt.Sscanf(before, "VALUE k 5 2 %d", &cas)
		}
	}
	key := "k"
	if r.keyless {
		key = ""
	}
	const opaque = 0x01020304
	c := bt.ts.dialFrom(from)
	defer c.Close()
	bt.ts.takeAudit()
	if _, err := c.Conn.Write([]byte(frame(r.opcode, opaque, cas, r.extras, key, r.value) + frame(0x0a, endMark, 0, "", "", ""))); err != nil {
		t.Fatal(err)
	}
	got, answer := "-", ""
	for {
		p, err := readPacket(c.r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.opaque == endMark {
			break
		}
		if p.opaque != opaque || p.opcode != int(r.opcode) {
			t.Errorf("%s: opcode or opaque are not those of the request: %v", name, p)
		}
		got = fmt.Sprintf("%02x", p.status)
		answer += p.String()
		if body := p.key + p.value; p.status == 1 && (r.withKey && body != "k" || !r.withKey && body != "Not found") ||
			p.status == 0x24 && body != "CLIENT_ERROR access denied" {
			t.Errorf("%s: body %q", name, body)
		}
	}
	lines := bt.ts.takeAudit()
	if got != want {
		t.Errorf("%s: got status %s, want %s", name, got, want)
	}
	switch {
	case perm == "" && len(lines) != 0:
		t.Errorf("%s: audited:\n%s", name, strings.Join(lines, "\n"))
	case perm != "" && (len(lines) != 1 || !strings.Contains(lines[0], "avc:  denied  { "+perm+" }")):
		t.Errorf("%s: want one audit line about %s, got:\n%s", name, perm, strings.Join(lines, "\n"))
	}
	if perm != "" {
		if after := bt.admin.ask("gets k\r\n"); after != before {
			t.Errorf("%s: a denial changed the item: %q became %q", name, before, after)
		}
	}
	return answer
}

// TestEveryOpcodeHasARow sends every opcode, in every shape that some opcode has: one
// that is not answered "unknown command" is in the table, or needs no row.
func TestEveryOpcodeHasARow(t *testing.T) {
	listed := map[byte]string{
		0x07: "quit", 0x17: "quitq", 0x0a: "noop, the end of every exchange",
	}
	for i := range binaryRows {
		listed[binaryRows[i].opcode] = "row"
	}
	ts := startServer(t, testConfig{})
	served := 0
	for op := range 256 {
		known := false
		for _, extras := range []string{"", u32(0), u64(0), u64(0) + u64(0) + u32(0)} {
			for _, key := range []string{"", "k"} {
				c := ts.dialFrom("127.0.0.1")
				if _, err := c.Conn.Write([]byte(frame(byte(op), 1, 0, extras, key, "") + frame(0x0a, endMark, 0, "", "", ""))); err != nil {
					t.Fatal(err)
				}
				p, err := readPacket(c.r)
				// Silence is an answer too, as is the end of the connection after it.
				known = known || err != nil || p.status != 0x81 && p.status != 0x04
				c.Close()
			}
		}
		if known {
			served++
			if listed[byte(op)] == "" {
				t.Errorf("opcode %02x is served and has no row", op)
			}
		} else if listed[byte(op)] != "" {
			t.Errorf("opcode %02x has a row and is not served", op)
		}
	}
	if served != len(listed) || served < 30 {
		t.Errorf("%d opcodes are served, %d are listed", served, len(listed))
	}
}
