package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"github.com/spf13/pflag"

	"sememcached/storage"
	"sememcached/storage/disk"
)

var dataBackupTool = &tool{
	group: "data", name: "backup", synopsis: []string{"backup FILE COPY"},
	summary: "copy a data file, also while a server uses it",
	about: `The copy is a data file of the moment at which the command was given: everything
that had been answered by then is in it. The server goes on meanwhile. It is
asked through a socket beside its data file, FILE.ctl, for which one has to be the
server's user or root, and to have kv_server dump; also if FILE was removed under it.
COPY has mode 0600 and must not exist.
`,
	exit:     "0, or 2 for an error",
	examples: []example{{"sememcached data backup items.data items.copy", 0, ""}},
	setup: func(*pflag.FlagSet) func(*terminal, []string) error {
		return func(t *terminal, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("expected a data file and the copy's name, found %d arguments", len(args))
			}
			from, to := args[0], args[1]
			err := disk.WriteFile(to, false, func(w io.Writer) error { return backup(from, w) })
			if err != nil {
				return err
			}
			return checked(t, to)
		}
	},
}

// checked reads a file that was just made.
func checked(t *terminal, path string) error {
	return withFile(path, func(f *disk.File, _ disk.Facts, now uint32) error {
		c, err := f.Live(now, func(*storage.Record, *disk.Label) error { return nil })
		if err == nil {
			fmt.Fprintf(t.out, "%s: %d items\n", path, c.Items)
		}
		return err
	})
}

// backup writes a copy of a data file, by way of the server that uses it, if
// there is one.
func backup(path string, w io.Writer) error {
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err == nil {
		_, err = f.WriteTo(w)
		return errors.Join(err, f.Close(false))
	}
	gone := errors.Is(err, fs.ErrNotExist) // which its server may have survived
	if !gone && !errors.Is(err, disk.ErrLocked) {
		return err
	}
	c, dialed := net.Dial("unix", controlPath(path))
	switch {
	case dialed != nil && gone:
		return err
	case dialed != nil:
		return fmt.Errorf("the file is in use, and its server cannot be asked: %w", dialed)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "backup\n"); err != nil {
		return err
	}
	return readFrames(c, w)
}

var dataRestoreTool = &tool{
	group: "data", name: "restore", synopsis: []string{"restore [--force] COPY FILE"},
	summary: "make a data file from a backup, after checking it",
	about: `COPY is read to its end before anything is changed. With --force FILE may exist;
no server may use it.
`,
	exit:     "0, or 2 for an error",
	examples: []example{{"sememcached data restore items.copy restored.data", 0, ""}},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		force := f.Bool("force", false, "replace an existing file")
		return func(t *terminal, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("expected a backup and a data file, found %d arguments", len(args))
			}
			from, to := args[0], args[1]
			if _, err := os.Stat(to); err == nil {
				if !*force {
					return fmt.Errorf("%s exists: --force replaces it", to)
				}
				if err := notInUse(to); err != nil {
					return err
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return withFile(from, func(f *disk.File, _ disk.Facts, now uint32) error {
				c, err := f.Live(now, func(*storage.Record, *disk.Label) error { return nil })
				if err != nil {
					return err
				}
				err = disk.WriteFile(to, *force, func(w io.Writer) error {
					_, err := f.WriteTo(w)
					return err
				})
				if err == nil {
					fmt.Fprintf(t.out, "%s: %d items\n", to, c.Items)
				}
				return err
			})
		}
	},
}

// notInUse fails if a server uses the file. A file that is damaged is not in use.
func notInUse(path string) error {
	f, err := disk.Open(path, disk.Options{})
	switch {
	case err == nil:
		return f.Close(false)
	case errors.Is(err, disk.ErrLocked):
		return inUse(err)
	}
	return nil
}

var dataCompactTool = &tool{
	group: "data", name: "compact", synopsis: []string{"compact FILE"},
	summary: "write a data file anew, as small as it can be",
	about: `A data file does not shrink while a server uses it: what is freed is used again.
No server may use the file.
`,
	exit:     "0, or 2 for an error",
	examples: []example{{"sememcached data compact restored.data", 0, ""}},
	setup: func(*pflag.FlagSet) func(*terminal, []string) error {
		return func(t *terminal, args []string) error {
			path, err := oneFile(args)
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err != nil {
				return err
			}
			f, err := disk.Open(path, disk.Options{}) // for its lock
			if err != nil {
				return inUse(err)
			}
			before := f.Size()
			facts, err := f.Facts()
			var c disk.Contents
			tmp := path + ".compact"
			if err == nil {
				c, err = f.Compact(tmp, secondOf(facts))
			}
			if err == nil {
				err = os.Rename(tmp, path)
			}
			if err != nil {
				if c.Segments > 0 {
					_ = os.Remove(tmp) // it is of no use
				}
				return errors.Join(err, f.Close(false))
			}
			// Closed as it is: the name is the new file's.
			if err := f.Close(false); err != nil {
				return err
			}
			st, err := os.Stat(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "%s: %d items, %d bytes before, %d now\n", path, c.Items, before, st.Size())
			return nil
		}
	},
}
