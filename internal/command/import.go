package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
)

func (a *app) importCommand() *cobra.Command {
	var as string
	im := &importer{app: a}
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Store the records of a JSON or CSV file",
		Long: `Store the records of a file, or of standard input for -. The file is a JSON array, JSON Lines, or
JSON objects one after another, on one line or over several, optionally gzipped, whatever its name. Memory is
bounded: a record may have 512 MiB, the file any size.

--at items reads the array that is the member "items" of one object; --at a.b that of member b in member a.

A file whose name ends in .csv or .csv.gz is CSV, as is any input with --csv. Its first row names the members;
each other row becomes an object. Values stay strings: with --numbers, those that are JSON numbers become numbers.

--as makes the path of each record from its fields: see "oolith help paths". A '*' at its end
is a new index; the times of creation follow the order of the file. Records with the same path
overwrite one another in that order. Without --as, the file is one that export wrote: its objects
get their own paths and times back, and those that have expired since are left out.

--only stores the records whose paths match a pattern. --if-exists says what becomes of a record whose path
holds an object: replace stores it (the default), skip leaves the object as it is, fail ends the import there.
An import by a field that is unique can run again without doubling anything; a '*' adds anew each time.

A record that cannot be stored is told on standard error with its line, or its number in
the array counted from 1, and with the reason. The others are stored, and the exit code is 3. When
none of the first 100 can be stored, the import gives up. Each record is stored whole or not at
all, and what the summary counts is on the disk. A file that is cut off, or an array that is no
valid JSON, ends the import there with the exit code 1: the records before are stored. So does
Ctrl-C, with 130. Records are stored as they arrive: "tail -f FILE | oolith import -" stores each
line at once.`,
		Example: `  oolith import cities.json.gz --as 'cities/{country}/*'
  oolith import users.jsonl --as 'users/{account.id}' --if-exists skip
  oolith import stations.csv --as 'stations/{code}' --numbers
  oolith import answer.json --at data.items --as 'items/{id}'
  oolith export | oolith --store pebble:./copy import -`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := im.check(cmd, args[0]); err != nil {
				return err
			}
			im.make = fromExport
			if cmd.Flags().Changed("as") {
				t, err := parseTemplate(as)
				if err != nil {
					return usage(err)
				}
				im.make, im.template = fromTemplate(t), t
			}
			return im.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "make paths by this `TEMPLATE`, 'cities/{country}/*'")
	cmd.Flags().StringVar(&im.format.at, "at", "", "the records are the array at this `MEMBER` of one object, such as items or data.items")
	cmd.Flags().BoolVar(&im.format.csv, "csv", false, "the input is CSV with a header row, whatever its name")
	cmd.Flags().BoolVar(&im.format.numbers, "numbers", false, "CSV values that are JSON numbers become numbers")
	cmd.Flags().StringVar(&im.only, "only", "", "only records whose path matches this `PATTERN`")
	addIfExists(cmd, &im.ifExists)
	cmd.Flags().BoolVarP(&im.quiet, "quiet", "q", false, "no progress and no summary: errors only")
	a.completeImport(cmd)
	return cmd
}

// check refuses flags that do not go together, and finds the format that the name tells.
func (im *importer) check(cmd *cobra.Command, name string) error {
	f := &im.format
	f.csv = f.csv || f.at == "" && isCSVName(name)
	switch {
	case cmd.Flags().Changed("at") && slices.Contains(strings.Split(f.at, "."), ""):
		return usage(fmt.Errorf("--at %q: expected the name of a member, such as items or data.items", f.at))
	case f.csv && f.at != "":
		return usage(errors.New("import: --csv and --at exclude each other, expected one of them"))
	case f.numbers && !f.csv:
		return usage(errors.New("import: --numbers is for CSV; add --csv if the file name does not end in .csv"))
	case f.csv && !cmd.Flags().Changed("as"):
		return usage(errors.New("import: CSV needs --as, a path template such as 'users/{id}'"))
	}
	return checkOnly(cmd, im.only)
}

// importer is one import.
type importer struct {
	*app
	make     maker
	template *template // nil without --as
	quiet    bool
	format   format
	only     string // a pattern; empty for all
	ifExists ifExists

	store   writable
	in      *input
	records records
	report  *progress
	started time.Time

	read, accepted int64  // records, by the goroutine that reads
	example        string // the path of the last record stored

	stored, refused, expired, skipped atomic.Int64
	leftOut                           int64 // records that --only leaves out, by the goroutine that reads

	held []refusal // that are not told yet; the goroutine that reads has them
}

// refusal is a record that is not stored.
type refusal struct {
	number int64
	reason error
}

// run opens both sides, the input first, so that a wrong file makes no store.
func (im *importer) run(ctx context.Context, name string) error {
	in, err := openInput(ctx, name, im.stdin)
	if err != nil {
		return err
	}
	im.in = in
	im.records, err = readRecords(in, maxRecord, im.format)
	if err != nil {
		return joinClose(im.stopped(err), in)
	}
	store, err := im.openStore(ctx, creates)
	if err != nil {
		return joinClose(err, in)
	}
	im.store, im.started = store, time.Now()
	im.report = startProgress(im.stderr, im.err, im.quiet, work{name: in.name, verb: "stored", size: in.size}, im.state)
	err = im.all(ctx)
	im.report.stop()
	store.Close()
	if err = joinErrors(err, in.Close()); err != nil {
		return im.stopped(err)
	}
	return im.finish()
}

func (im *importer) state() progressState {
	return progressState{read: im.in.read.Load(), stored: im.stored.Load()}
}

// all reads to the end of the input. Whatever ends it, the records handed to the writer
// by then are stored when it returns, unless the store itself failed.
func (im *importer) all(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var broken error
	inARow := 0 // records that the store refused
	c := &committer{store: im.store, ifExists: im.ifExists}
	c.done = func(j job, err error) {
		switch {
		case err == nil:
			im.stored.Add(1)
			im.example = j.path
			inARow = 0
			return
		case errors.Is(err, errNotTried):
			return
		case errors.Is(err, errExpired):
			im.expired.Add(1)
			return
		case errors.Is(err, errSkipped):
			im.skipped.Add(1)
			return
		case errors.Is(err, errExists):
			err = fmt.Errorf("%s %d: %w", im.records.unit, j.number, err)
		case isRefusal(err):
			im.refuse(j.number, err)
			if inARow++; inARow < hopeless {
				return
			}
			err = fmt.Errorf("gave up after %d refused records in a row", hopeless)
		default:
			err = fmt.Errorf("%s %d: %w", im.records.unit, j.number, err)
		}
		broken = fmt.Errorf("store %s: %w", im.storeURL, err)
		c.stop()
		fail(broken)
	}
	w := startWriter(c.commit)
	err := im.feed(ctx, w)
	w.wait()
	if broken != nil {
		return broken
	}
	return err
}

// hopeless is how many records are refused, with none good among them, before the file or
// the template is taken for the wrong one.
const hopeless = 100

// feed reads records and hands them to the writer.
func (im *importer) feed(ctx context.Context, w *writer) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rec, err := im.records.next()
		if err != nil {
			im.release()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		im.read++
		var j job
		if err = rec.refused; err == nil {
			j, err = im.make(rec.data)
		}
		if err != nil {
			if im.accepted > 0 {
				im.refuse(rec.number, err)
				continue
			}
			im.refuseAtFirst(rec.number, err)
			if im.read == hopeless {
				return fmt.Errorf("gave up because none of the first %d records can be stored; the first %d are shown", hopeless, shownAtFirst)
			}
			continue
		}
		if im.only != "" && !key.Match(im.only, j.path) {
			im.leftOut++
			continue
		}
		if im.accepted++; im.accepted == 1 {
			im.release()
		}
		j.number = rec.number
		w.add(j)
	}
}

// shownAtFirst is how many refused records are told before one was good: of a wrong file they are all alike.
const shownAtFirst = 5

// refuse reports one record that is not stored.
func (im *importer) refuse(number int64, reason error) {
	im.refused.Add(1)
	im.tell(number, reason)
}

func (im *importer) tell(number int64, reason error) {
	im.report.println(im.errorLine(fmt.Errorf("%s: %s %d: %w", im.in.name, im.records.unit, number, reason), exitRefused))
}

// refuseAtFirst is refuse before there was a good record: all but a few wait until one comes, or the end.
func (im *importer) refuseAtFirst(number int64, reason error) {
	if im.read <= shownAtFirst {
		im.refuse(number, reason)
		return
	}
	im.refused.Add(1)
	im.held = append(im.held, refusal{number, reason})
}

// release reports what refuseAtFirst held back.
func (im *importer) release() {
	for _, r := range im.held {
		im.tell(r.number, r.reason)
	}
	im.held = nil
}

// stopped makes the error of an import that did not reach the end of its input.
func (im *importer) stopped(err error) error {
	stored, refused := im.stored.Load(), im.refused.Load()
	done := fmt.Sprintf("%s stored, %s refused", plural(stored, "record"), thousands(refused))
	if errors.Is(err, context.Canceled) {
		return &codeError{exitInterrupted, fmt.Errorf("%s: interrupted after %s %d; %s",
			im.in.name, im.unit(), im.read, done)}
	}
	return fmt.Errorf("%s: %w; %s", im.in.name, err, done)
}

// unit names what is counted, also before the format is known.
func (im *importer) unit() string {
	if im.records.unit == "" {
		return "record"
	}
	return im.records.unit
}

// importSummary is what import --json writes.
type importSummary struct {
	Stored  int64   `json:"stored"`
	Refused int64   `json:"refused"`
	Expired int64   `json:"expired,omitempty"`
	Skipped int64   `json:"skipped,omitempty"`
	LeftOut int64   `json:"left_out,omitempty"`
	Seconds float64 `json:"seconds"`
}

// finish writes the summary of an import that read all of its input.
func (im *importer) finish() error {
	stored, refused, took := im.stored.Load(), im.refused.Load(), time.Since(im.started)
	var err error
	switch {
	case im.quiet:
	case im.json:
		err = writeJSON(im.stdout, importSummary{stored, refused, im.expired.Load(), im.skipped.Load(), im.leftOut, took.Seconds()})
	default:
		err = im.writeSummary(stored, refused, took)
	}
	if err == nil && refused > 0 {
		err = &codeError{exitRefused, fmt.Errorf("%s: %s refused, %s stored", im.in.name, plural(refused, "record"), thousands(stored))}
	}
	return err
}

func (im *importer) writeSummary(stored, refused int64, took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "stored %s in %s", plural(stored, "record"), took.Round(time.Millisecond))
	if stored > 0 {
		fmt.Fprintf(&b, " (%s per second)", thousands(int64(float64(stored)/max(took.Seconds(), 0.001))))
	}
	fmt.Fprintf(&b, " in %s, refused %s", im.storeURL, thousands(refused))
	if expired := im.expired.Load(); expired > 0 {
		fmt.Fprintf(&b, ", skipped %s that have expired", thousands(expired))
	}
	if skipped := im.skipped.Load(); skipped > 0 {
		fmt.Fprintf(&b, ", skipped %s that exist already", thousands(skipped))
	}
	if im.leftOut > 0 {
		fmt.Fprintf(&b, ", skipped %s that --only does not match", thousands(im.leftOut))
	}
	b.WriteByte('\n')
	if im.read == 0 {
		b.WriteString("the input holds no records\n")
	}
	if stored > 0 && im.location() != "" {
		b.WriteString("\nTry next:\n")
		for _, example := range im.examples() {
			b.WriteString("  " + example + "\n")
		}
	}
	_, err := im.stdout.WriteString(b.String())
	return err
}

// location is where the store is found again; empty when nowhere.
func (im *importer) location() string { return location(im.storeURL) }

// examples are commands that show what was imported.
func (im *importer) examples() []string {
	program := im.program
	if im.storeURL != defaultStore && im.storeURL != im.getenv(storeVariable) {
		program += " --store " + shellQuote(im.storeURL)
	}
	all := ""
	if im.template != nil {
		all = im.template.pattern()
	} else if parent := key.Parent(im.example); parent != "" {
		all = parent + "/*"
	}
	var examples []string
	if key.HasGlob(all) {
		examples = append(examples, program+" list "+shellQuote(all)+" --limit 5")
		if nearby := key.Parent(im.example) + "/*"; nearby != all && nearby != "/*" {
			examples = append(examples, program+" list "+shellQuote(nearby)+" --oldest --limit 5")
		}
	}
	if im.template == nil || !im.template.generated {
		examples = append(examples, program+" get "+shellQuote(im.example))
	}
	return append(examples, program+" info")
}

// shellQuote quotes an argument for a POSIX shell, where it needs that.
func shellQuote(argument string) string {
	plain := func(r rune) bool { return key.IsValid("x"+string(r)) && r != '*' || strings.ContainsRune("/:=", r) }
	if argument != "" && strings.TrimFunc(argument, plain) == "" {
		return argument
	}
	return "'" + strings.ReplaceAll(argument, "'", `'\''`) + "'"
}
