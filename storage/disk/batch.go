package disk

// Batch is what one transaction changes. The zero Batch changes nothing.
type Batch struct {
	chunks [][]byte
	counts []uint32
	free   [][]byte // chunks of earlier batches, to be used again
	kept   kept     // what Extend has written

	CAS     uint64   // the highest number that the store has given out
	Time    int64    // UNIX milliseconds
	Labels  []Label  // to be put
	Unused  []uint32 // labels to be deleted
	Drop    uint64   // segments before this one are deleted; 0: none
	Pending []byte   // delayed flushes, if SetPending
	// SetPending, SetSettings and Unclean say which facts change.
	SetPending  bool
	SetSettings bool
	Settings    string
	Unclean     bool // from now on the file holds everything only if it is closed in order
}

// kept is how much of a batch is on the disk already: whole chunks, a part of the
// next one, and the records in both.
type kept struct {
	chunks, bytes int
	records       uint64
}

// Reset makes the batch empty, keeping its memory.
func (b *Batch) Reset() {
	for _, c := range b.chunks {
		if cap(c) <= ChunkSize+chunkHead+64<<10 && len(b.free) < 256 {
			b.free = append(b.free, c[:0])
		}
	}
	clear(b.chunks)
	*b = Batch{chunks: b.chunks[:0], counts: b.counts[:0], free: b.free, Labels: b.Labels[:0], Unused: b.Unused[:0]}
}

// Append adds n records, encoded, and returns where they are now, for the caller
// to change until the commit.
func (b *Batch) Append(records []byte, n uint32) []byte {
	last := len(b.chunks) - 1
	if last < 0 || len(b.chunks[last])+len(records) > ChunkSize+chunkHead {
		var c []byte
		if k := len(b.free); k > 0 && len(records) <= ChunkSize {
			c, b.free = b.free[k-1], b.free[:k-1]
		} else {
			c = make([]byte, 0, max(ChunkSize, len(records))+chunkHead)
		}
		b.chunks = append(b.chunks, append(c, make([]byte, chunkHead)...))
		b.counts = append(b.counts, 0)
		last++
	}
	at := len(b.chunks[last])
	b.chunks[last] = append(b.chunks[last], records...)
	b.counts[last] += n
	return b.chunks[last][at:]
}

// Bytes is the length of the batch's chunks.
func (b *Batch) Bytes() (n int64) {
	for _, c := range b.chunks {
		n += int64(len(c))
	}
	return n
}

// Records is the number of records of the batch.
func (b *Batch) Records() (n uint64) {
	for _, c := range b.counts {
		n += uint64(c)
	}
	return n
}

// Each calls fn with the records of the batch, chunk by chunk.
func (b *Batch) Each(fn func(records []byte)) {
	for _, c := range b.chunks {
		fn(c[chunkHead:])
	}
}

// EachNew is Each for the records that were added since the last Extend.
func (b *Batch) EachNew(fn func(records []byte)) {
	for i := b.kept.chunks; i < len(b.chunks); i++ {
		from := chunkHead
		if i == b.kept.chunks {
			from = max(from, b.kept.bytes)
		}
		if len(b.chunks[i]) > from {
			fn(b.chunks[i][from:])
		}
	}
}

// EachKept calls fn with the records that Extend has written, the newest chunk
// first.
func (b *Batch) EachKept(fn func(records []byte)) {
	for i := min(b.kept.chunks, len(b.chunks)-1); i >= 0; i-- {
		c := b.chunks[i]
		if i == b.kept.chunks {
			c = c[:max(b.kept.bytes, chunkHead)]
		}
		fn(c[chunkHead:])
	}
}

// keep notes that all of the batch is on the disk.
func (b *Batch) keep() {
	b.kept = kept{chunks: len(b.chunks), records: b.Records()}
	if n := len(b.chunks); n > 0 {
		b.kept.chunks, b.kept.bytes = n-1, len(b.chunks[n-1])
	}
}

// Kept is the number of records that are on the disk already.
func (b *Batch) Kept() uint64 { return b.kept.records }

// Settled reports whether all of the batch is on the disk.
func (b *Batch) Settled() bool { return b.onlyRecords() && b.Records() == b.kept.records }

// onlyRecords reports whether the batch changes nothing but the log.
func (b *Batch) onlyRecords() bool {
	return len(b.Labels) == 0 && len(b.Unused) == 0 && b.Drop == 0 && !b.SetPending && !b.SetSettings && !b.Unclean
}

// Empty reports whether a commit of the batch would change nothing.
func (b *Batch) Empty() bool {
	return len(b.chunks) == 0 && b.onlyRecords()
}
