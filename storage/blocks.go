package storage

import "sync"

// blocks hands out memory outside the Go heap, which is never unmapped before close.
//
// Whoever asks for it holds a shard's lock, and mapping memory may wait for somebody who fills a huge page. So
// it is cut from blocks, of which the next one is mapped by another goroutine in time.
type blocks struct {
	helpers sync.WaitGroup

	mu sync.Mutex
	// +checklocks:mu
	block   []byte   // what is left of the present block
	next    []byte   // the one after it, nil if it is not there yet
	mapping bool     // a helper maps it
	all     [][]byte // what is mapped
}

// blockSize is the length of a block: tables for a million items and some more. Only what has been used of
// it takes memory.
const blockSize = 8 << 20

// cut returns memory that was never used, and reads as zero. size is a multiple of a page of the system.
func (bs *blocks) cut(size int) ([]byte, error) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if size > blockSize/4 {
		return bs.mapped(allocate(int64(size)))
	}
	if size > len(bs.block) {
		if bs.next == nil {
			mem, err := bs.mapped(newBlock())
			if err != nil {
				return nil, err
			}
			bs.next = mem
		}
		bs.block, bs.next = bs.next, nil
	}
	mem := bs.block[:size:size]
	if bs.block = bs.block[size:]; len(bs.block) < blockSize/2 && bs.next == nil && !bs.mapping {
		bs.mapping = true
		bs.helpers.Go(bs.mapNext)
	}
	return mem, nil
}

// mapped notes what has been mapped.
func (bs *blocks) mapped(mem []byte, err error) ([]byte, error) {
	if err == nil {
		bs.all = append(bs.all, mem)
	}
	return mem, err
}

// newBlock maps a block. A huge page would be cleared as a whole, under the lock of whoever touches it first.
func newBlock() ([]byte, error) {
	mem, err := allocate(blockSize)
	if err == nil {
		refuseHugePages(mem)
	}
	return mem, err
}

// mapNext maps the next block.
func (bs *blocks) mapNext() {
	mem, err := newBlock()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.mapping = false
	if mem, err = bs.mapped(mem, err); err == nil && bs.next == nil { // else it is asked for again
		bs.next = mem
	}
}

func (bs *blocks) close() error {
	bs.helpers.Wait()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var err error
	for _, mem := range bs.all {
		if e := release(mem); err == nil {
			err = e
		}
	}
	bs.all = nil
	return err
}
