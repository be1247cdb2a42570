package engine

import "reflect"

// Counters are the command counters of memcached's general statistics, and
// those of the access vector cache. One worker's are written by its own loop
// only; Interface.Counters adds them up.
type Counters struct {
	CmdGet, CmdSet, CmdFlush, CmdTouch, CmdMeta uint64
	GetHits, GetMisses, GetExpired, GetFlushed  uint64
	DeleteMisses, DeleteHits                    uint64
	IncrMisses, IncrHits, DecrMisses, DecrHits  uint64
	CasMisses, CasHits, CasBadval               uint64
	TouchHits, TouchMisses                      uint64
	StoreTooLarge, StoreNoMemory                uint64
	AVCLookups, AVCHits, AVCMisses              uint64        // worker table: one look-up per item and class
	Parked                                      uint64        // calls that returned Pending for a verdict
	GaveUp                                      uint64        // calls denied after too many retries
	Failures                                    uint64        // verdicts that nobody could give
	Denials                                     [2][32]uint64 // by class (kv_item, kv_server) and permission bit
}

// combine sets every counter of c to f(c's, o's). It runs when somebody asks for
// statistics, so reflection is cheap enough and no counter can be forgotten.
func (c *Counters) combine(o *Counters, f func(a, b uint64) uint64) {
	cv, ov := reflect.ValueOf(c).Elem(), reflect.ValueOf(o).Elem()
	for i := range cv.NumField() {
		combine(cv.Field(i), ov.Field(i), f)
	}
}

func combine(c, o reflect.Value, f func(a, b uint64) uint64) {
	if c.Kind() != reflect.Array {
		c.SetUint(f(c.Uint(), o.Uint()))
		return
	}
	for i := range c.Len() {
		combine(c.Index(i), o.Index(i), f)
	}
}

// add adds o to c.
func (c *Counters) add(o *Counters) {
	c.combine(o, func(a, b uint64) uint64 { return a + b })
}

// sub subtracts o from c.
func (c *Counters) sub(o *Counters) {
	c.combine(o, func(a, b uint64) uint64 { return a - b })
}

// keepAccess zeroes the counters of access control in c, a base to subtract, so
// that they survive a reset.
func (c *Counters) keepAccess() {
	c.AVCLookups, c.AVCHits, c.AVCMisses = 0, 0, 0
	c.Parked, c.GaveUp, c.Failures = 0, 0, 0
	c.Denials = [2][32]uint64{}
}
