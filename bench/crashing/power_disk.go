package crashing

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Units of what a disk does at once.
const (
	pageSize   = 4096
	sectorSize = 512
)

// simDisk is what a disk may hold after the deeds so far, if the power fails now.
type simDisk struct {
	files map[int]*simFile
	// names are those of the directory that a sync has made last, changes what was
	// done to it since. A journal keeps their order: some of the first ones are
	// on the disk.
	names   map[string]int
	changes []deed
}

// simFile is one file: what a sync has made last, and what was written since, of
// which anything may be on the disk.
type simFile struct {
	pages   map[int64][]byte
	size    int64
	pending map[int64][][]byte // later contents of a page, oldest first
	order   []int64            // of the pages that are pending, the one written first being first
	sizes   []int64            // later sizes
}

func newSimDisk() *simDisk {
	return &simDisk{files: map[int]*simFile{}, names: map[string]int{}}
}

// apply does a deed.
func (d *simDisk) apply(x *deed) error {
	f := d.files[x.file]
	switch x.kind {
	case deedCreate:
		d.files[x.file] = &simFile{pages: map[int64][]byte{}, pending: map[int64][][]byte{}}
		d.changes = append(d.changes, *x)
	case deedRemove, deedLink, deedRename:
		d.changes = append(d.changes, *x)
	case deedSyncDir:
		d.names = d.named(len(d.changes))
		d.changes = nil
	case deedWrite:
		return f.write(x.at, x.data)
	case deedSize:
		f.sizes = append(f.sizes, x.at)
		if x.at == 0 { // what is written after that is a new file's
			f.pending, f.order = map[int64][][]byte{}, nil
		} else if x.at < f.length() {
			return fmt.Errorf("expected files to grow, found %d bytes and then %d", f.length(), x.at)
		}
	case deedSync:
		f.sync()
	}
	return nil
}

// named is the directory with the first n changes.
func (d *simDisk) named(n int) map[string]int {
	names := maps.Clone(d.names)
	for _, x := range d.changes[:n] {
		switch x.kind {
		case deedCreate:
			names[x.name] = x.file
		case deedRemove:
			delete(names, x.name)
		case deedLink:
			names[x.to] = names[x.name]
		case deedRename:
			names[x.to] = names[x.name]
			delete(names, x.name)
		}
	}
	return names
}

// length is the size of the file for those who read it now.
func (f *simFile) length() int64 {
	if n := len(f.sizes); n > 0 {
		return f.sizes[n-1]
	}
	return f.size
}

func (f *simFile) write(at int64, data []byte) error {
	if at%pageSize != 0 || len(data)%pageSize != 0 {
		return fmt.Errorf("expected whole pages, found %d bytes at %d", len(data), at)
	}
	for i := 0; i < len(data); i += pageSize {
		id := (at + int64(i)) / pageSize
		if len(f.pending[id]) == 0 {
			f.order = append(f.order, id)
		}
		f.pending[id] = append(f.pending[id], data[i:i+pageSize:i+pageSize])
	}
	if end := at + int64(len(data)); end > f.length() {
		f.sizes = append(f.sizes, end)
	}
	return nil
}

func (f *simFile) sync() {
	f.size = f.length()
	for id, contents := range f.pending {
		f.pages[id] = contents[len(contents)-1]
	}
	clear(f.pending)
	f.order, f.sizes = f.order[:0], f.sizes[:0]
}

// image is one of the states in which a power failure may leave a file.
type image struct {
	size  int64
	pages map[int64][]byte // those that are not as the last sync has made them
	how   string
	torn  bool
}

// take makes the image in which pending page i of the order is as pick says: 0,
// as the last sync made it, or n, as the n-th write since.
func (f *simFile) take(how string, size int64, pick func(i, versions int) int) *image {
	m := &image{size: size, pages: map[int64][]byte{}, how: how}
	for i, id := range f.order {
		contents := f.pending[id]
		if n := pick(i, len(contents)); n > 0 && (id+1)*pageSize <= size {
			m.pages[id] = contents[n-1]
		}
	}
	return m
}

var emptyPage [pageSize]byte

// tear makes pages of an image consist of sectors of what was there before and
// of what was written: of a random set, or, in one sector, of bytes.
func (f *simFile) tear(m *image, rng *rand.Rand) {
	for _, id := range slices.Sorted(maps.Keys(m.pages)) {
		if rng.IntN(2) == 0 {
			continue
		}
		before := f.pages[id]
		if before == nil {
			before = emptyPage[:]
		}
		torn := slices.Clone(m.pages[id])
		for at := 0; at < pageSize; at += sectorSize {
			switch rng.IntN(6) {
			case 0, 1:
				copy(torn[at:at+sectorSize], before[at:])
			case 2:
				cut := at + rng.IntN(sectorSize)
				copy(torn[cut:at+sectorSize], before[cut:])
			}
		}
		m.pages[id] = torn
	}
}

// systematic is how many pending pages are tried in every combination.
const systematic = 6

// images calls fn with states in which a power failure may leave the file now: all and
// nothing of what is pending, all combinations where that is little, else each page alone and
// each page missing as far as most allows, beginnings, and random sets; and torn ones.
func (f *simFile) images(most int, rng *rand.Rand, fn func(*image) error) error {
	n := len(f.order)
	var made []*image
	sizes := append([]int64{f.size}, f.sizes...)
	add := func(how string, pick func(i, versions int) int) {
		size := sizes[len(sizes)-1]
		if len(sizes) > 1 && len(made) > 1 {
			size = sizes[rng.IntN(len(sizes))]
		}
		made = append(made, f.take(how, size, pick))
	}
	add("everything", func(_, versions int) int { return versions })
	add("what was synced", func(int, int) int { return 0 })
	if len(sizes) > 1 {
		made[1].size = f.size
	}
	if n > 0 && n <= systematic {
		for set := 1; set < 1<<n-1; set++ {
			add(fmt.Sprintf("set %#b of %d pages", set, n), func(i, versions int) int { return set >> i & 1 * versions })
		}
	}
	for k := 0; n > systematic && k < most/4; k++ {
		one := rng.IntN(n)
		add(fmt.Sprintf("all but the write %d of %d", one, n), func(i, versions int) int {
			if i == one {
				return 0
			}
			return versions
		})
		add(fmt.Sprintf("the write %d of %d alone", one, n), func(i, versions int) int {
			if i == one {
				return versions
			}
			return 0
		})
		add(fmt.Sprintf("the first %d of %d", one, n), func(i, versions int) int {
			if i < one {
				return versions
			}
			return 0
		})
	}
	for n > 0 && len(made) < 2*most {
		share := rng.IntN(11)
		add(fmt.Sprintf("about %d tenths of %d writes", share, n), func(_, versions int) int {
			if rng.IntN(10) >= share {
				return 0
			}
			return 1 + rng.IntN(versions)
		})
		if last := made[len(made)-1]; rng.IntN(2) == 0 {
			last.how, last.torn = last.how+", torn", true
			f.tear(last, rng)
		}
	}
	for i, m := range made {
		if i >= 2 && len(made) > most && rng.IntN(len(made)) >= most {
			continue
		}
		if err := fn(m); err != nil {
			return fmt.Errorf("%s: %w", m.how, err)
		}
	}
	return nil
}
