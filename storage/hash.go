package storage

import (
	"encoding/binary"
	"math/bits"
)

// hasher is a keyed hash in the manner of wyhash: 16 bytes a step, folded by
// one 64x64 multiplication. All four words are secret, so that a client cannot
// aim keys at one shard or one bucket.
type hasher [4]uint64

func newHasher(seed uint64) (k hasher) {
	for i := range k { // splitmix64
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		k[i] = z ^ z>>31 | 1
	}
	return k
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func (k *hasher) sum(instance uint32, key []byte) uint64 {
	n := len(key)
	s := k[0] ^ fold(uint64(instance)^k[1], uint64(n)^k[2])
	var a, b uint64
	switch {
	case n > 16:
		p := key
		for len(p) > 16 {
			s = fold(binary.LittleEndian.Uint64(p)^k[2], binary.LittleEndian.Uint64(p[8:])^s)
			p = p[16:]
		}
		a = binary.LittleEndian.Uint64(key[n-16:])
		b = binary.LittleEndian.Uint64(key[n-8:])
	case n >= 8:
		a = binary.LittleEndian.Uint64(key)
		b = binary.LittleEndian.Uint64(key[n-8:])
	case n >= 4:
		a = uint64(binary.LittleEndian.Uint32(key))
		b = uint64(binary.LittleEndian.Uint32(key[n-4:]))
	case n > 0:
		a = uint64(key[0])<<16 | uint64(key[n>>1])<<8 | uint64(key[n-1])
	}
	return fold(k[3]^uint64(n), fold(a^k[1], b^s))
}
