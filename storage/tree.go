package storage

import (
	"bytes"
	"cmp"

	"github.com/google/btree"
)

// treeDegree makes a full node 255 references, 1,020 bytes: about 7 bytes an item
// for keys that come in random order, 9 for keys that come sorted. With 64 it is half a byte more, and no faster.
const treeDegree = 128

// newTree returns the ordered index of a shard: references, ordered by key, then
// instance. Reference 0 stands for the key in sh.probe, so that a search for a key
// that is not stored needs no item.
func (sh *Shard) newTree(free *btree.FreeListG[uint32]) *btree.BTreeG[uint32] {
	return btree.NewWithFreeListG(treeDegree, func(a, b uint32) bool {
		if c := bytes.Compare(sh.treeKey(a), sh.treeKey(b)); c != 0 {
			return c < 0
		}
		return sh.treeInstance(a) < sh.treeInstance(b)
	}, free)
}

func (sh *Shard) treeKey(ref uint32) []byte {
	if ref == 0 {
		return sh.probe.key
	}
	return sh.s.arena.item(ref).Key()
}

// treeInstance is apart from treeKey, since it may cost a cache line of its own and is seldom needed.
func (sh *Shard) treeInstance(ref uint32) uint32 {
	if ref == 0 {
		return sh.probe.instance
	}
	return sh.s.arena.item(ref).Instance()
}

// position is a place in the order of items: by key, then by instance.
type position struct {
	key      []byte
	instance uint32
}

func (p position) compare(q position) int {
	return cmp.Or(bytes.Compare(p.key, q.key), cmp.Compare(p.instance, q.instance))
}
