package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sememcached/storage"
	"sememcached/storage/disk"
)

// dataTools are the subcommands of "sememcached data", in the order of the help.
func dataTools() []*tool {
	return []*tool{dataInfoTool, dataCheckTool, dataDumpTool, dataBackupTool, dataRestoreTool, dataCompactTool}
}

// dataCommand is "sememcached data ...".
func dataCommand(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return exitf(exitNoAnswer, "%s", strings.TrimRight(dataHelp(), "\n"))
	}
	switch args[0] {
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, dataHelp())
		return err
	}
	var names []string
	for _, t := range dataTools() {
		if t.name == args[0] {
			return t.run(args[1:], stdout, stderr)
		}
		names = append(names, t.name)
	}
	return exitf(exitNoAnswer, "sememcached data: expected one of %s, found %q\nRun sememcached data -h for help.", strings.Join(names, ", "), args[0])
}

// dataHelp lists the tools.
func dataHelp() string {
	var b strings.Builder
	b.WriteString("sememcached data: look into a data file (--data, -e), back it up, restore it\n\n")
	for _, t := range dataTools() {
		for _, s := range t.synopsis {
			fmt.Fprintf(&b, "  sememcached data %s\n", s)
		}
		fmt.Fprintf(&b, "      %s\n", t.summary)
	}
	b.WriteString("\nA file that a server uses can be backed up; the other tools want one that\nnobody writes. Each of them has --help with examples.\n")
	return b.String()
}

// oneFile is the only argument of a tool.
func oneFile(args []string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("expected one data file, found %d arguments", len(args))
	}
	return args[0], nil
}

// withFile runs fn on a data file that is read only, at the present second of its
// clock.
func withFile(path string, fn func(f *disk.File, facts disk.Facts, now uint32) error) error {
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		return inUse(err)
	}
	facts, err := f.Facts()
	if err == nil {
		err = fn(f, facts, secondOf(facts))
	}
	return errors.Join(err, f.Close(false))
}

func secondOf(facts disk.Facts) uint32 { return uint32(max(1, time.Now().Unix()-facts.Zero)) }

// inUse says what to do about a file that a server has.
func inUse(err error) error {
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%w, a server: stop it, or make a copy by sememcached data backup", err)
	}
	return err
}

var dataInfoTool = &tool{
	group: "data", name: "info", synopsis: []string{"info FILE"},
	summary: "what a data file holds: format, items, labels, how it was closed",
	about: `Reads the whole file. A file that was not closed in order lacks what was changed
after its last commit, and is whole otherwise.
`,
	exit:     "0, or 2 for an error",
	examples: []example{{"sememcached data info items.data", 0, ""}},
	setup: func(*pflag.FlagSet) func(*terminal, []string) error {
		return func(t *terminal, args []string) error {
			path, err := oneFile(args)
			if err != nil {
				return err
			}
			return withFile(path, func(f *disk.File, facts disk.Facts, now uint32) error {
				items := map[string]int64{}
				c, err := f.Live(now, func(_ *storage.Record, l *disk.Label) error {
					items[l.Context]++
					return nil
				})
				if err != nil {
					return err
				}
				ls, err := f.Labels()
				if err != nil {
					return err
				}
				cas, at, err := f.Last()
				if err != nil {
					return err
				}
				day := func(s int64) string {
					if s == 0 {
						return "never"
					}
					return time.Unix(s, 0).UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(t.out, "file        %s, %d bytes\nformat      %d\ncreated     %s\nlast write  %s\nclosed      %s\n",
					path, f.Size(), facts.Format, day(facts.Created), day(at/1000), map[bool]string{true: "in order", false: "by a crash, or in use"}[facts.Clean])
				if facts.Settings != "" {
					fmt.Fprintf(t.out, "settings    %s\n", facts.Settings)
				}
				fmt.Fprintf(t.out, "last cas    %d\nlog         %d bytes, %d segments, %d records: %d superseded, %d deletions, %d expired or flushed\nitems       %d, %d bytes of keys and values\nlabels      %d\n",
					cas, c.LogBytes, c.Segments, c.Records, c.Superseded, c.Gone, c.Dead, c.Items, c.Bytes, len(ls))
				for _, l := range ls {
					name := l.Context
					if name == "" {
						name = "(none)"
					}
					flushed := ""
					if l.Flushed != 0 {
						flushed = ", flushed " + day(facts.Zero+int64(l.Flushed))
					}
					fmt.Fprintf(t.out, "  %s  %d items%s\n", name, items[l.Context], flushed)
				}
				return nil
			})
		}
	},
}

var dataCheckTool = &tool{
	group: "data", name: "check", synopsis: []string{"check FILE"},
	summary: "is the file whole? exit status 0 yes, 1 no, 2 it cannot be read",
	about: `Looks through every page, checksum and record.
`,
	exit:     "0 whole, 1 damaged or no data file, 2 error",
	examples: []example{{"sememcached data check items.data", 0, ""}},
	setup: func(*pflag.FlagSet) func(*terminal, []string) error {
		return func(t *terminal, args []string) error {
			path, err := oneFile(args)
			if err != nil {
				return err
			}
			var c disk.Contents
			err = withFile(path, func(f *disk.File, _ disk.Facts, now uint32) (err error) {
				c, err = f.Live(now, func(*storage.Record, *disk.Label) error { return nil })
				return err
			})
			var sys *os.PathError
			switch {
			case err == nil:
				fmt.Fprintf(t.out, "%s is whole: %d items, %d records\n", path, c.Items, c.Records)
				return nil
			case errors.As(err, &sys) || errors.Is(err, disk.ErrLocked):
				return err
			}
			fmt.Fprintln(t.out, err)
			return no()
		}
	},
}

var dataDumpTool = &tool{
	group: "data", name: "dump", synopsis: []string{"dump [--label CONTEXT] [--prefix PREFIX] [--values] FILE"},
	summary: "the items as text, a line each, with their labels",
	about: `A line: key=... label=... flags=... exptime=... cas=... stored=... size=..., and
value=... with --values. Times are UNIX seconds, exptime=-1 is never. Bytes that
a word cannot have are %XX in keys, and values are quoted as in C.
`,
	exit: "0, or 2 for an error",
	examples: []example{
		{"sememcached data dump items.data", 0, ""},
		{"sememcached data dump --prefix user: --values items.data", 0, "keys that begin with user:, with their values"},
		{"sememcached data dump --label 'system_u:object_r:kv_item_t:s0:c1' items.data", 0, "one tenant's; a * at the end stands for anything"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		label := f.String("label", "", "only items with this label, a * at its end stands for anything (`context`)")
		prefix := f.String("prefix", "", "only keys that begin with this (`prefix`)")
		values := f.Bool("values", false, "show the values too")
		return func(t *terminal, args []string) error {
			path, err := oneFile(args)
			if err != nil {
				return err
			}
			return withFile(path, func(f *disk.File, facts disk.Facts, now uint32) error {
				_, err := f.Live(now, func(r *storage.Record, l *disk.Label) error {
					if !strings.HasPrefix(string(r.Key), *prefix) || !labelFits(*label, l.Context) {
						return nil
					}
					return dumpLine(t.out, r, l, facts.Zero, *values)
				})
				return err
			})
		}
	},
}

func labelFits(pattern, context string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(context, begin)
	}
	return pattern == "" || pattern == context
}

func dumpLine(w io.Writer, r *storage.Record, l *disk.Label, zero int64, values bool) error {
	var key strings.Builder
	for _, c := range r.Key {
		if c <= ' ' || c >= 0x7f || c == '%' {
			fmt.Fprintf(&key, "%%%02X", c)
		} else {
			key.WriteByte(c)
		}
	}
	label, exptime, value := l.Context, int64(-1), ""
	if label == "" {
		label = "-"
	}
	if r.Exptime != 0 {
		exptime = zero + int64(r.Exptime)
	}
	if values {
		value = fmt.Sprintf(" value=%q", r.Value)
	}
	_, err := fmt.Fprintf(w, "key=%s label=%s flags=%d exptime=%d cas=%d stored=%d size=%d%s\n",
		&key, label, r.Flags, exptime, r.CAS, zero+int64(r.Stored), len(r.Value), value)
	return err
}
