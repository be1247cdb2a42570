package server

import (
	"sync"

	"sememcached/protocol"
)

// knobs are the settings that administrative commands change and "stats
// settings" shows. What steers parts that this server has not (the page mover,
// the segments of the LRU) is kept and shown, and changes nothing else.
type knobs struct {
	mu sync.Mutex
	// Everything below: +checklocks:mu
	automove       uint32
	automoveRatio  float64
	automoveFree   float64
	automoveWindow uint32
	segmented      bool
	hotPercent     uint32
	warmPercent    uint32
	hotFactor      float64
	warmFactor     float64
	tempTTL        int32 // negative: off
	crawlerSleep   uint32
	crawlerTocrawl uint32
}

// newKnobs are the settings as they are at start.
func newKnobs(t *Tuning) *knobs {
	return &knobs{
		automove: t.SlabAutomove, automoveRatio: t.AutomoveRatio, automoveFree: t.AutomoveFree, automoveWindow: t.AutomoveTicks,
		segmented: t.Segmented, hotPercent: t.HotPercent, warmPercent: t.WarmPercent, hotFactor: t.HotFactor, warmFactor: t.WarmFactor,
		tempTTL: t.TemporaryTTL, crawlerSleep: t.CrawlerSleep, crawlerTocrawl: t.CrawlerTocrawl,
	}
}

// segments says whether the LRU is shown as one of several segments, and whether
// TEMP is one of them.
func (k *knobs) segments() (segmented, temp bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.segmented, k.tempTTL >= 0
}

// set does what an action asks for, if it is about one of the knobs.
func (k *knobs) set(a *protocol.Admin) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch a.Action {
	case protocol.SlabsAutomove:
		k.automove = a.Number
	case protocol.SlabsAutomoveRatio:
		k.automoveRatio = a.Ratio
	case protocol.SlabsAutomoveFreeratio:
		k.automoveFree = a.Ratio
	case protocol.SlabsAutomoveWindow:
		k.automoveWindow = a.Number
	case protocol.LRUTune:
		k.hotPercent, k.warmPercent = a.HotPercent, a.WarmPercent
		k.hotFactor, k.warmFactor = a.HotFactor, a.WarmFactor
	case protocol.LRUFlat:
		k.segmented = false
	case protocol.LRUSegmented:
		k.segmented = true
	case protocol.LRUTempTTL:
		k.tempTTL = a.TTL
	case protocol.CrawlerSleep:
		k.crawlerSleep = a.Number
	case protocol.CrawlerTocrawl:
		k.crawlerTocrawl = a.Number
	}
}
