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

// defaultKnobs are memcached's defaults.
func defaultKnobs() *knobs {
	return &knobs{
		automove: 1, automoveRatio: 0.8, automoveFree: 0.01, automoveWindow: 10,
		segmented: true, hotPercent: 20, warmPercent: 40, hotFactor: 0.2, warmFactor: 2,
		tempTTL: -1, crawlerSleep: 100,
	}
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
