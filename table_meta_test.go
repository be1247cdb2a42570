package main

import (
	"strings"
	"testing"

	"sememcached/avc"
	"sememcached/protocol"
	"sememcached/server"
)

// The meta commands of the command table. What they need depends on their flags,
// so these rows have no single row of the engine's table behind them.
var metaRows = []tableRow{
	{command: protocol.MetaGet, send: "mg k v\r\n", exists: avc.Read, present: "VA 2\r\n10\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k v k O9\r\n", exists: avc.Read, present: "VA 2 kk O9\r\n10\r\n", missing: "EN kk O9\r\n", denied: "EN kk O9\r\n"},
	{command: protocol.MetaGet, send: "mg k v k O9 q\r\n", exists: avc.Read, present: "VA 2 kk O9\r\n10\r\n", denied: ""},
	{command: protocol.MetaGet, send: "mg aw== b v k\r\n", exists: avc.Read, present: "VA 2 kk\r\n10\r\n", missing: "EN kaw== b\r\n", denied: "EN kaw== b\r\n"},
	{command: protocol.MetaGet, send: "mg k\r\n", exists: avc.Getattr, present: "HD\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k s f c\r\n", exists: avc.Getattr, present: "HD s2 f5 c%C\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k v h t\r\n", exists: avc.Read | avc.Getattr, present: "VA 2 h1 t-1\r\n10\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k v C%C\r\n", exists: avc.Read, present: "HD\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k T100\r\n", exists: avc.Getattr | avc.Setattr, present: "HD\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k v T100 t\r\n", exists: avc.Read | avc.Getattr | avc.Setattr, present: "VA 2 t100\r\n10\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaGet, send: "mg k v N100\r\n", exists: avc.Read, absent: avc.Create, present: "VA 2\r\n10\r\n", missing: "VA 0 W\r\n\r\n", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaGet, send: "mg k N100 q\r\n", exists: avc.Getattr, absent: avc.Create, present: "HD\r\n", missing: "HD W\r\n", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaDebug, send: "me k\r\n", exists: avc.Getattr, present: "ME k exp=-1 *", missing: "EN\r\n", denied: "EN\r\n"},
	{command: protocol.MetaSet, send: "ms k 1\r\nx\r\n", exists: avc.Write, absent: avc.Create, present: "HD\r\n", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaSet, send: "ms k 1 q k O9\r\nx\r\n", exists: avc.Write, absent: avc.Create, present: "", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaSet, send: "ms k 1 ME\r\nx\r\n", exists: avc.Getattr, absent: avc.Create, present: "NS\r\n", missing: "HD\r\n", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaSet, send: "ms k 1 MR k O9\r\nx\r\n", exists: avc.Write, present: "HD kk O9\r\n", missing: "NS kk O9\r\n", denied: "NS kk O9\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 MA\r\nx\r\n", exists: avc.Append, present: "HD\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 MP q\r\nx\r\n", exists: avc.Append, present: "", missing: "NS\r\n", denied: "NS\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 MA N100\r\nx\r\n", exists: avc.Append, absent: avc.Create, present: "HD\r\n", denied: accessDenied, create: accessDenied},
	{command: protocol.MetaSet, send: "ms k 1 C%C\r\nx\r\n", exists: avc.Write, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 C18446744073709551000\r\nx\r\n", exists: avc.Write, present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 C1 I\r\nx\r\n", exists: avc.Write, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaSet, send: "ms k 1 MA C1\r\nx\r\n", exists: avc.Append, present: "EX\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{command: protocol.MetaDelete, send: "md k\r\n", exists: avc.Remove, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k q k O9\r\n", exists: avc.Remove, present: "", missing: "NF kk O9\r\n", denied: "NF kk O9\r\n"},
	{command: protocol.MetaDelete, send: "md k C1\r\n", exists: avc.Remove, present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k I\r\n", exists: avc.Setattr, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k I T100\r\n", exists: avc.Setattr, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k T100\r\n", exists: avc.Setattr | avc.Remove, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k x\r\n", exists: avc.Write, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDelete, send: "md k x I\r\n", exists: avc.Write | avc.Setattr, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaDeletePrefix, send: "mdp k\r\n", exists: avc.Remove, present: "HD 1\r\n", missing: "HD 0\r\n", denied: "HD 0\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k\r\n", exists: avc.Calculate, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k v k O9\r\n", exists: avc.Calculate, present: "VA 2 kk O9\r\n11\r\n", missing: "NF kk O9\r\n", denied: "NF kk O9\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k v q MD D3\r\n", exists: avc.Calculate, present: "", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k t\r\n", exists: avc.Calculate | avc.Getattr, present: "HD t-1\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k T100\r\n", exists: avc.Calculate | avc.Setattr, present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k C1\r\n", exists: avc.Calculate, present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k\r\n", value: "ab", exists: avc.Calculate, present: "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{command: protocol.MetaArithmetic, send: "ma k N100 J5 v\r\n", exists: avc.Calculate, absent: avc.Create, present: "VA 2\r\n11\r\n", missing: "VA 1\r\n5\r\n", denied: accessDenied, create: accessDenied},
}

// TestCommandTableMeta is TestCommandTable for the meta commands.
func TestCommandTableMeta(t *testing.T) {
	cil, lacks, contexts := tablePolicy()
	ts := startServer(t, testConfig{policy: compileCIL(t, cil), contexts: contexts, server: server.Settings{}})
	cases := 0
	for i := range metaRows {
		row := &metaRows[i]
		t.Run(strings.TrimSpace(strings.SplitN(row.send, "\r\n", 2)[0]), func(t *testing.T) {
			tt := &tableTest{t: t, ts: ts, row: row, admin: ts.dialFrom(lacks(0, 0))}
			tt.run(lacks)
			// An item that is there and denied answers as one that is not; silence too.
			if row.missing == "" && row.absent == 0 {
				tt.one("allowed, no item", lacks(0, 0), false, "", "", true)
			}
			cases += tt.cases
		})
	}
	t.Logf("%d cases", cases)
	const planned = 180
	if cases != planned {
		t.Errorf("%d cases were run, the plan is %d", cases, planned)
	}
}
