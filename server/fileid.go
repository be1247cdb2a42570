package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// fileID tells one state of a file from another, also where it is replaced by a
// rename or through a symbolic link, as Kubernetes does with secrets.
type fileID struct {
	dev, ino uint64
	size     int64
	changed  time.Time // data or inode
}

// identify looks at a file. One that cannot be seen is zero.
func identify(name string) fileID {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return fileID{}
	}
	return fileID{st.Dev, st.Ino, st.Size, time.Unix(st.Ctim.Unix())}
}
