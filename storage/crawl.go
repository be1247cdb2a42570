package storage

// Crawl is the place of a crawler. The zero Crawl is at the beginning.
type Crawl struct {
	shard  int
	bucket uint32
}

// crawlBuckets is how many buckets a step looks at: not above 256 items.
const crawlBuckets = 256 / bucketSlots

// crawlReclaims bounds the items that a step unlinks, give or take a bucket: each takes
// some microseconds where they are in no cache, most of it for the ordered index.
const crawlReclaims = 16

// CrawlStep unlinks the dead items among the next 256 at most, in one hold of one
// shard's lock, as memcached's lru_crawler does for a class, and stops sooner if many are dead. It returns how many items it
// looked at and unlinked, and whether there are more; at the end the Crawl is at
// the beginning again. An item that the growing index moves meanwhile may be
// left for the next round.
func (s *Store) CrawlStep(c *Crawl, now uint32) (checked, reclaimed int, more bool) {
	if c.shard >= len(s.shards) {
		*c = Crawl{}
	}
	sh := s.shards[c.shard]
	sh.lock()
	defer sh.unlock()
	if sh.index.old.Load() != nil {
		sh.grow(crawlBuckets)
		return 0, 0, true
	}
	t := sh.index.cur.Load()
	for range crawlBuckets {
		if c.bucket >= t.n {
			c.bucket = 0
			c.shard++
			break
		}
		b := t.bucket(c.bucket)
		c.bucket++
		for slot := range bucketSlots {
			ref := b[firstRef+slot]
			if ref == 0 {
				continue
			}
			checked++
			if it := s.arena.item(ref); s.dead(it, now) != Present {
				sh.countCrawled(it)
				sh.unlink(s.hashOf(ref), ref)
				reclaimed++
			}
		}
		if reclaimed >= crawlReclaims {
			break
		}
	}
	sh.stats.crawlerCheck += uint64(checked)
	if c.shard == len(s.shards) {
		c.shard = 0
		return checked, reclaimed, false
	}
	return checked, reclaimed, true
}

// countCrawled counts a dead item that the crawler is about to unlink.
func (sh *Shard) countCrawled(it Item) {
	c := sh.class(it.Size())
	c.CrawlerReclaimed++
	sh.stats.crawlerReclaimed++
	if !it.Fetched() {
		c.ExpiredUnfetched++
		sh.stats.expiredUnfetched++
	}
}
