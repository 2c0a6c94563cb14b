package ko

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Start implements storage.Layer: it makes the directory where it is missing, locks it,
// opens the database and reads it through once where that is needed, for which see the
// package.
//
// A directory that is in use, that is a file, that cannot be written, that is corrupt, that
// holds something else or that holds keys which are no valid paths is an error that says so.
func (l *Layer) Start(options storage.LayerOptions) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.db != nil {
		return storage.ErrActive
	}
	if err := l.start(options); err != nil {
		return fmt.Errorf("ko: open %s: %w", l.dir, explain(err))
	}
	return nil
}

// start opens the directory, or holds nothing.
func (l *Layer) start(options storage.LayerOptions) error {
	dir, err := prepareDir(l.dir, l.options.ReadOnly)
	if err != nil {
		return err
	}
	if l.options.ReadOnly {
		return l.startReadOnly(dir, options)
	}
	if err := l.look(dir); err != nil {
		return err
	}
	d, err := opened(l.openDisk, dir)
	if err != nil {
		return err
	}
	if err := l.open(d, options); err != nil {
		return enginekit.FirstError(err, d.Close())
	}
	return nil
}

// look refuses a database that is damaged, before LevelDB makes any file beside it. A recovery changes what is
// damaged, and looks itself.
func (l *Layer) look(dir string) error {
	if l.lookAt == nil || l.options.Recover {
		return nil
	}
	d, err := opened(l.lookAt, dir)
	if err != nil {
		return err
	}
	n, err := readNote(d)
	if err == nil {
		_, _, err = inspect(d, n)
	}
	return enginekit.FirstError(err, d.Close())
}

// startReadOnly opens the directory to read only, or holds nothing.
func (l *Layer) startReadOnly(dir string, options storage.LayerOptions) error {
	if l.options.Recover {
		return errRecoverReadOnly
	}
	d, err := opened(openReadDisk, dir)
	if err != nil {
		return err
	}
	if err := l.open(d, options); err != nil {
		return enginekit.FirstError(err, d.Close())
	}
	return nil
}

// errRecoverReadOnly is a layer that is to rebuild a database and to change nothing.
var errRecoverReadOnly = errors.New("it is to be recovered, which changes it, and opened to read only: ask for one of the two")

// open opens the database in a directory that is locked.
func (l *Layer) open(d disk, options storage.LayerOptions) error {
	err := checkComplete(d)
	if err != nil && !(options.AllowIncomplete && errors.Is(err, storage.ErrIncomplete)) {
		return err
	}
	n, err := readNote(d)
	if err != nil {
		return err
	}
	o := opener{layer: l, disk: newFailstop(d, l.options.Logger), note: n}
	if err := o.run(); err != nil {
		return err
	}
	l.db, l.disk = o.db, o.disk
	l.revisions = &revisions{disk: o.disk, last: max(n.revision, o.survey.revision)}
	l.opening = opening{invalid: o.survey.invalid, undecodable: o.survey.undecodable, recovery: o.report}
	return nil
}

// opener is one opening of a database.
type opener struct {
	layer *Layer
	disk  *failstop
	note  note

	db     *leveldb.DB
	survey survey
	report *RecoveryReport
}

// run opens the database and reads it through where that is needed. After an error nothing
// is open but the disk.
func (o *opener) run() error {
	options := o.layer.options
	known, err := o.openDatabase()
	// Damaged tables show only when they are read.
	if err == nil && (!known || options.Recover) {
		o.survey, err = surveyDatabase(o.db, options.Recover)
	}
	if options.Recover && isCorrupt(err) {
		err = o.recover(err)
	}
	if err == nil && !options.SkipInvalid {
		err = o.survey.invalid.refusal()
	}
	if err = enginekit.FirstError(err, o.disk.failure()); err != nil {
		o.closeDatabase()
		return err
	}
	return nil
}

// openDatabase opens the database as it is. It is known if nobody has touched it since it was
// surveyed and closed.
func (o *opener) openDatabase() (known bool, err error) {
	exists, fingerprint, err := inspect(o.disk, o.note)
	if err == nil && !exists {
		err = o.begin()
	}
	if err != nil {
		return false, err
	}
	if o.db, err = leveldb.Open(o.disk, o.layer.leveldbOptions()); err != nil {
		return false, enginekit.FirstError(o.disk.failure(), err)
	}
	return fingerprint != "" && fingerprint == o.note.fingerprint, o.disk.failure()
}

// begin makes a directory ready for a new database.
func (o *opener) begin() error {
	if o.layer.options.ReadOnly {
		return enginekit.NoStore(fs.ErrNotExist)
	}
	return removeHalfMade(o.disk)
}

// inspect says whether there is a database, and returns its fingerprint. One that is damaged, or of which something
// is missing, is a corruption error. It changes nothing.
func inspect(d disk, n note) (exists bool, fingerprint string, err error) {
	if exists, err = checkWhole(d); err != nil || !exists {
		return false, "", err
	}
	if fingerprint, err = readLogs(d); err == nil {
		err = checkClosed(fingerprint, n.fingerprint)
	}
	return err == nil, fingerprint, err
}

// closeDatabase closes what is open after an error, which is the one that counts.
func (o *opener) closeDatabase() {
	if o.db == nil {
		return
	}
	if err := o.db.Close(); err != nil {
		o.layer.options.Logger.Debug("ko: close after a failed open", "error", err)
	}
	o.db = nil
}

func (l *Layer) leveldbOptions() *opt.Options {
	return &opt.Options{
		BlockCacheCapacity:     int(min(l.options.CacheSize, math.MaxInt)),
		OpenFilesCacheCapacity: 256,
		WriteBuffer:            l.options.WriteBuffer,
		// Its own filter in each new table tells that a key is absent without a read.
		// Software without it reads such tables all the same.
		Filter: filter.NewBloomFilter(10),
		// A large batch goes through the log like any other: LevelDB's other way for it holds
		// locks for ever when the disk fails.
		DisableLargeBatchTransaction: true,
		ReadOnly:                     l.options.ReadOnly,
		ErrorIfMissing:               l.options.ReadOnly,
		// Reads never cause writes.
		DisableSeeksCompaction: true,
		// What is damaged is an error of whoever reads it. Damage in logs and in the
		// manifest is found by readLogs, which knows it from a record that a crash cut short.
		Strict: opt.StrictJournalChecksum | opt.StrictBlockChecksum | opt.StrictCompaction | opt.StrictReader,
	}
}

// Close implements storage.Layer. It waits for calls in progress, ends scans in progress
// with storage.ErrNotActive at their next object that is not read yet, and puts the log on
// the disk. It may be called from inside a scan's loop. It waits for the part that a compaction
// is at, some tenths of a second as a rule. It sorts nothing into tables: the log has it, and
// the next start replays that.
func (l *Layer) Close() {
	l.life.Lock()
	defer l.life.Unlock()
	if l.db == nil {
		return
	}
	l.scans.End((*scan).close)
	l.compactions.Wait() // LevelDB has a data race when it is closed during one
	err := l.db.Close()
	if err == nil {
		err = l.disk.failure()
	}
	if err == nil && !l.options.ReadOnly {
		err = l.noteClosed()
	}
	if err = enginekit.FirstError(err, l.disk.Close()); err != nil {
		l.options.Logger.Error("ko: close", "dir", l.dir, "error", err)
	}
	l.db, l.disk, l.revisions, l.opening = nil, nil, nil, opening{}
}

// noteClosed writes down the last revision, and how the database was left.
func (l *Layer) noteClosed() error {
	n := note{revision: l.revisions.highest()}
	if l.opening.invalid.count+l.opening.undecodable.count == 0 {
		fingerprint, err := readLogs(l.disk)
		if err != nil {
			return err
		}
		n.fingerprint = fingerprint
	}
	return l.disk.WriteNote(revisionFile, n.encode())
}
