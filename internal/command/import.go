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
		Short: "Import the records of a JSON or CSV file",
		Long: `Store the records of a file, or of standard input for -. The file is a JSON array, JSON Lines,
or concatenated JSON objects, on one line or several, optionally gzipped. Memory use is bounded:
a record may have up to 512 MiB, and the file any size.

--at items reads the array in the member "items" of one object; --at a.b reads the member b of
the member a.

A file whose name ends in .csv or .csv.gz is CSV, and so is any input with --csv. Its first row
names the members; each other row becomes an object. Values are strings; with --numbers, values
that are JSON numbers become numbers.

--as builds the path of each record from its fields: see "oolith help paths". A '*' at its end
is a new index. Creation times follow the order of the file, and a record overwrites earlier
records with the same path. Without --as, the file must come from export: its objects get their
paths and times back, and expired objects are skipped.

--only stores only the records whose paths match a pattern. --if-exists decides what happens to
a record whose path has an object: replace stores the record (the default), skip keeps the
object, fail stops the import. An import by a unique field can run again without duplicates; a
'*' adds the records again each time.

A record that cannot be stored does not affect the others. It is reported on standard error with
the reason and its line, or its number in the array counted from 1; the exit code is then 3. If
none of the first 100 records can be stored, the import gives up. Each record is stored
completely or not at all, and every record that the summary counts is on disk. A truncated file
or an array of invalid JSON stops the import with exit code 1, and Ctrl-C stops it with 130;
earlier records stay stored. Records are stored as they arrive: "tail -f FILE | oolith import -"
stores each line at once.`,
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
	cmd.Flags().StringVar(&as, "as", "", "build paths with this `TEMPLATE`, such as 'cities/{country}/*'")
	cmd.Flags().StringVar(&im.format.at, "at", "", "read the array in this `MEMBER` of one object, such as items or data.items")
	cmd.Flags().BoolVar(&im.format.csv, "csv", false, "the input is CSV with a header row")
	cmd.Flags().BoolVar(&im.format.numbers, "numbers", false, "convert CSV values that are JSON numbers")
	cmd.Flags().StringVar(&im.only, "only", "", "only records whose path matches this `PATTERN`")
	addIfExists(cmd, &im.ifExists)
	cmd.Flags().BoolVarP(&im.quiet, "quiet", "q", false, "show only errors, no progress and no summary")
	a.completeImport(cmd)
	return cmd
}

// check rejects flags that exclude each other, and derives the format from the file name.
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
	only     string // empty for all records
	ifExists ifExists

	store   writable
	in      *input
	records records
	report  *progress
	started time.Time

	read, accepted int64  // records, by the goroutine that reads
	example        string // of the last stored record

	stored, refused, expired, skipped atomic.Int64
	leftOut                           int64 // records that --only leaves out, by the goroutine that reads

	held []refusal // that are not told yet; the goroutine that reads has them
}

// refusal is a rejected record.
type refusal struct {
	number int64
	reason error
}

// run opens the input first, so a wrong file creates no store.
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

// all reads to the end of the input. All records handed to the writer are stored when it returns, unless the store
// failed.
func (im *importer) all(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var broken error
	inARow := 0 // records rejected by the store
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

// hopeless is the number of rejected records, without an accepted one, after which the file or the template is
// considered wrong.
const hopeless = 100

// feed reads records and passes them to the writer.
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

// shownAtFirst is how many rejected records are shown before the first accepted one, since those of a wrong file are
// all alike.
const shownAtFirst = 5

// refuse reports a rejected record.
func (im *importer) refuse(number int64, reason error) {
	im.refused.Add(1)
	im.tell(number, reason)
}

func (im *importer) tell(number int64, reason error) {
	im.report.println(im.errorLine(fmt.Errorf("%s: %s %d: %w", im.in.name, im.records.unit, number, reason), exitRefused))
}

// refuseAtFirst is refuse before the first accepted record. It holds back all but a few until there is one, or until
// the end.
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

// stopped is the error of an import that did not reach the end of its input.
func (im *importer) stopped(err error) error {
	stored, refused := im.stored.Load(), im.refused.Load()
	done := fmt.Sprintf("%s stored, %s refused", plural(stored, "record"), thousands(refused))
	if errors.Is(err, context.Canceled) {
		return &codeError{exitInterrupted, fmt.Errorf("%s: interrupted after %s %d; %s",
			im.in.name, im.unit(), im.read, done)}
	}
	return fmt.Errorf("%s: %w; %s", im.in.name, err, done)
}

// unit names what is counted, even before the format is known.
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

// finish writes the summary of a complete import.
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

// location returns the location of the store; empty if it has none.
func (im *importer) location() string { return location(im.storeURL) }

// examples returns commands that show what was imported.
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

// shellQuote quotes an argument for a POSIX shell if necessary.
func shellQuote(argument string) string {
	plain := func(r rune) bool { return key.IsValid("x"+string(r)) && r != '*' || strings.ContainsRune("/:=", r) }
	if argument != "" && strings.TrimFunc(argument, plain) == "" {
		return argument
	}
	return "'" + strings.ReplaceAll(argument, "'", `'\''`) + "'"
}
