package policy

import "slices"

func (d *decoder) objectContexts() {
	// The least that an entry of each kind takes: its own fields and a
	// context, which is 12 bytes and a range of 20.
	sizes := [maxOcontextKinds]int{36, 69, 44, 69, 40, 41, 64, 48, 41}
	for kind := range d.t.ocontextKinds {
		os := make([]ocontext, d.count(sizes[kind], "object contexts"))
		for i := range os {
			d.objectContext(int(kind), &os[i])
		}
		d.t.ocontexts[kind] = os
	}
}

func (d *decoder) objectContext(kind int, o *ocontext) {
	contexts := 1
	switch kind {
	case oconISID:
		o.n[0] = d.u32("number of an initial SID")
	case oconFS, oconNetif:
		o.name = d.text(d.u32("length of a name"), "a file system or interface")
		contexts = 2
	case oconPort:
		o.n = [3]uint32{d.u32("protocol of a port"), d.u32("low port"), d.u32("high port")}
	case oconNode:
		o.addr = slices.Clone(d.take(8, "a node's address"))
	case oconNode6:
		o.addr = slices.Clone(d.take(32, "a node's address"))
	case oconFSUse:
		o.n[0] = d.u32("behaviour of a file system")
		o.name = d.text(d.u32("length of a name"), "a file system")
	case oconIBPKey:
		o.addr = slices.Clone(d.take(8, "a subnet prefix"))
		o.n[0], o.n[1] = d.u32("low key"), d.u32("high key")
	case oconIBEndPort:
		n := d.u32("length of a name")
		o.n[0] = d.u32("port of a device")
		o.name = d.text(n, "a device")
	}
	if d.err != nil {
		return
	}
	o.contexts = make([]context, contexts)
	for i := range o.contexts {
		o.contexts[i] = d.validContext()
	}
}

func (d *decoder) genfsContexts() {
	d.t.genfs = make([]genfs, d.count(9, "file systems of genfs"))
	for i := range d.t.genfs {
		g := &d.t.genfs[i]
		g.fstype = d.text(d.u32("length of a name"), "a file system")
		g.paths = make([]genfsPath, d.count(41, "paths of genfs"))
		for j := range g.paths {
			g.paths[j] = genfsPath{
				path:    d.text(d.u32("length of a path"), "a path"),
				class:   d.u32("class of a path"),
				context: d.validContext(),
			}
		}
	}
}
