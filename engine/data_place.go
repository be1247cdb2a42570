package engine

import "time"

// placeInterval is the time between two looks at the file's name.
const placeInterval = time.Second

// lookPlace finds out whether the file still has its name. If not, what is written is lost
// with the process, unless the file is put back. Under SyncAlways, which
// has promised more than that, it is a failure like that of a disk; else it is said, once,
// and writing goes on, so that a copy can be had (Backup), or the file moved back.
func (d *Data) lookPlace() {
	if d.Err() != nil {
		return
	}
	err := d.file.Place()
	was := d.moved.Load()
	switch {
	case err != nil && d.always:
		d.fail(err)
	case err != nil && was == nil:
		d.log.Error("data: what is kept will not be found by the next start: move the file back, or save a copy with sememcached data backup FILE COPY before the server ends",
			"error", err)
		d.moved.Store(&err)
	case err == nil && was != nil:
		d.log.Info("data: the file is in its place again", "file", d.cfg.Path)
		d.moved.Store(nil)
	}
}
