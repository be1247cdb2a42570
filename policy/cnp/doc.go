// Package cnp reads Cilium network policies with memcache rules, which say which
// client may use which command on which keys, and decides by them. It is pure:
// bytes in, verdicts out. What a peer is, and how a command looks on the wire,
// others know.
//
// # The files
//
// A file holds YAML documents, or JSON, of the kinds CiliumNetworkPolicy,
// CiliumClusterwideNetworkPolicy and List. Of a policy (spec, and each of specs)
// the endpointSelector says which servers it is for, and ingress who may do what:
//
//	endpointSelector: {matchLabels: {app: memcached}}
//	ingress:
//	- fromEndpoints:                   # which clients: one of these, or everybody
//	  - matchLabels: {name: fleet-monitoring}
//	  toPorts:
//	  - ports: [{port: "11211", protocol: TCP}]
//	    rules:
//	      l7proto: memcache
//	      l7:
//	      - command: get               # a command, a group, or "*"
//	        keyPrefix: alliance/fleet/ # keyExact, keyPrefix or keyRegex, or every key
//
// Once a policy with an ingress section selects the server, whatever no rule
// allows is denied. An ingress entry without rules allows every command (an L4
// rule); an entry of ingressDeny denies all of them and beats every other. egress
// is of the client's side and is not looked at. What is not understood is an
// error: fields, entities, named ports, anything that would make a rule mean
// something else than it says.
//
// Clients are endpoints with labels. The identity file names them:
//
//	identities:
//	- labels: {name: fleet-monitoring}
//	  peers: ["uid:2001", "cidr:10.1.0.0/16"]
//
// The first identity that has the client among its peers is the client's; a
// client without one is a stranger: only rules for everybody, for the entities
// all and world, and fromCIDR are for strangers.
//
// # Matching
//
// A request needs a set of commands (Mask), all of them on each of its keys. The
// rules of all policies and of every selector that fits the client are one
// union: it may be one rule that allows one of the keys, and another the next.
//
// A Table answers that at a cost that does not depend on the number of rules. Exact
// keys and prefixes are a radix tree, in which every place carries what all the
// shorter prefixes allow too. Of equal parts of it there is one, so that the rules of
// a hundred thousand tenants whose names were counted up stay in the processor's
// nearest cache, where a hash table would read a line of memory for each. What allows get
// has a second tree, for requests with many keys: there, tenants are alike though they
// differ in other commands. Regular expressions
// that are equal to a key, a prefix or a few of them become that; the others hang
// on the prefix that they begin with and run only where it fits.
//
// # Strict and Cilium
//
// Mode Strict refuses what Cilium's parser took for something harmless: see
// Problem. Mode Cilium decides as the parser of cilium/proxy (proxylib/memcached)
// did, its defects excepted: one rule must allow all keys of a request; only the
// first key condition of a rule counts, in the order keyExact, keyPrefix,
// keyRegex; an empty rule or command allows everything; nothing is allowed
// without being named, quit, noop and SASL neither; a binary store with a cas is
// a set; append and prepend (0x0e, 0x0f) are in no group, and GATK is no gat.
// Unknown commands, which allowed everything there, are errors here in both.
package cnp
