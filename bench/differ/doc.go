// Package differ sends the same random commands to two servers, this one and
// memcached 1.6.18, and compares every reply byte for byte.
//
// A run has a connection of each protocol to each server. A batch is some random
// commands of one protocol, pipelined, cut into random pieces and followed by a
// no-op, whose answer says that all others are there, also those that are
// silence. The protocols share their keys, so that what one stores the others
// find. Some batches end with what ends the connection, which must happen on
// both sides, after the same replies.
//
// What is compared is everything but
//
//   - the numbers of cas uniques, which are each server's own. They are compared
//     by what they do: an item's unique changes on one side when it does on the
//     other, and a command that names it succeeds on both.
//   - times (t, exp=): they may differ by a few seconds. Those since the last access
//     (l, la=) are not compared: memcached notes an access now and then only.
//   - the release in the reply to version.
//
// Not generated is what the two releases, 1.6.18 and the one served here, 1.6.45,
// answer differently, and what memcached's answer to depends on its threads: a
// number that becomes shorter is padded in place unless somebody holds the item.
//
// Expiry is by real short times. A key that has one is asked for only at moments
// when both servers must say the same, whatever the phase of their clocks, which
// count seconds.
package differ
