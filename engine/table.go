package engine

import "sememcached/avc"

// Op is an operation of the command table. The zero Op does not dispatch.
type Op uint8

// Operations on items, on the server, and those that need nothing.
const (
	OpNone Op = iota
	OpGet
	OpGat
	OpMetaGet
	OpMetaDebug
	OpTouch
	OpSet
	OpAdd
	OpReplace
	OpAppend
	OpPrepend
	OpCAS
	OpIncr
	OpDecr
	OpDelete
	OpDeletePrefix
	OpLabel
	OpCheck
	OpExplain
	OpRelabel
	OpCreateContext
	OpFlush
	OpStats
	OpStatsReset
	OpStatsMac
	OpStatsLabels
	OpDump
	OpWatch
	OpConfig
	OpShutdown
	OpFree
	opEnd
)

// Row is what one operation needs and what its denial looks like. Permissions
// add up: all of them are needed. A zero Row denies.
type Row struct {
	Name   string    // as audit lines show it: no blanks
	Server avc.Perms // kv_server, on the server's own context; asked before any item
	Exists avc.Perms // kv_item, on the label of the item found
	Absent avc.Perms // kv_item, on the label that the new item would get
	Denial Status    // Miss, NotStored or Denied
	Free   bool      // needs nothing at all
}

// Table is the command table: one row for each operation. Calculate stands for
// what the generation says incr and decr need (calculate, or read and write
// where the policy has no calculate).
var Table = [opEnd]Row{
	OpGet: {Name: "get", Exists: avc.Read, Denial: Miss},
	OpGat: {Name: "gat", Exists: avc.Read | avc.Setattr, Denial: Miss},
	// Options widen this row: see Call.row.
	OpMetaGet:   {Name: "mg", Exists: avc.Getattr, Denial: Miss},
	OpMetaDebug: {Name: "me", Exists: avc.Getattr, Denial: Miss},
	OpTouch:     {Name: "touch", Exists: avc.Setattr, Denial: Miss},
	OpSet:       {Name: "set", Exists: avc.Write, Absent: avc.Create, Denial: Denied},
	OpAdd:       {Name: "add", Exists: avc.Getattr, Absent: avc.Create, Denial: Denied},
	OpReplace:   {Name: "replace", Exists: avc.Write, Denial: NotStored},
	OpAppend:    {Name: "append", Exists: avc.Append, Denial: NotStored},
	OpPrepend:   {Name: "prepend", Exists: avc.Append, Denial: NotStored},
	OpCAS:       {Name: "cas", Exists: avc.Write, Denial: Miss},
	OpIncr:      {Name: "incr", Exists: avc.Calculate, Denial: Miss},
	OpDecr:      {Name: "decr", Exists: avc.Calculate, Denial: Miss},
	OpDelete:    {Name: "delete", Exists: avc.Remove, Denial: Miss},
	// Asked of each label; what it refuses stays and is not counted.
	OpDeletePrefix: {Name: "mdp", Exists: avc.Remove, Denial: Miss},
	OpLabel:        {Name: "mac_label", Exists: avc.Getattr, Denial: Miss},
	OpCheck:        {Name: "mac_check", Exists: avc.Getattr, Denial: Miss},
	// Tells that the key exists, and why: for whoever configures the server.
	OpExplain: {Name: "mac_explain", Server: avc.ServerConfig, Denial: Denied},
	// relabelto and validatetrans on the new label follow these, as Denied.
	OpRelabel: {Name: "relabel", Exists: avc.Getattr | avc.Setattr | avc.RelabelFrom, Denial: Miss},
	// create on the label asked for.
	OpCreateContext: {Name: "mac_create", Absent: avc.Create, Denial: Denied},
	// remove per label follows, decided when the flush is due.
	OpFlush:       {Name: "flush_all", Server: avc.ServerFlush, Denial: Denied},
	OpStats:       {Name: "stats", Server: avc.ServerStats, Denial: Denied},
	OpStatsReset:  {Name: "stats_reset", Server: avc.ServerConfig, Denial: Denied},
	OpStatsMac:    {Name: "stats_mac", Server: avc.ServerConfig, Denial: Denied},
	OpStatsLabels: {Name: "stats_labels", Server: avc.ServerStats, Denial: Denied},
	OpDump:        {Name: "dump", Server: avc.ServerDump, Denial: Denied},
	OpWatch:       {Name: "watch", Server: avc.ServerWatch, Denial: Denied},
	OpConfig:      {Name: "config", Server: avc.ServerConfig, Denial: Denied},
	OpShutdown:    {Name: "shutdown", Server: avc.ServerShutdown, Denial: Denied},
	OpFree:        {Name: "free", Free: true},
}
