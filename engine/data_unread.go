package engine

import (
	"sememcached/avc"
	"sememcached/mac"
)

// While a file is loaded and clients are served already, a key that is not in the
// store may have an item in the file, whose label is not known yet. To make another
// one then would replace an item without its write permission, and give its key
// another label: what would make one waits until the file has been loaded. It need
// not where every item of the file has the label that the new one gets, and the
// client may write it; a server without tenants never waits.

// onlyLabel is the label that all items of the file have; 0 if there are several.
func (l *loading) onlyLabel() (only avc.SID) {
	for _, s := range l.sids {
		if only != 0 && s != only {
			return 0
		}
		only = s
	}
	return only
}

// unread says whether the call, which may make an item with label under a key that
// was not found, has to wait for the file. The decision that it may has just been
// taken in generation g, so that another one about the label is at hand.
func (w *Worker) unread(g *mac.Generation, c *Call, label avc.SID) bool {
	d := w.eng.data
	if d == nil || w.eng.off || !d.loading.Load() {
		return false
	}
	if label == 0 || label != d.onlyLabel {
		return true
	}
	v, ok := w.check(g, c, label, avc.ClassItem, avc.Write)
	return !ok || !v.Allowed
}
