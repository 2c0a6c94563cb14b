package ko

import (
	"cmp"
	"errors"
	"io/fs"
	"math"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// start opens a database in the directory. After an error it holds nothing.
func (l *Layer) start(d *database, o storage.LayerOptions) error {
	dir, err := prepareDir(l.dir, l.options.ReadOnly)
	if err != nil {
		return err
	}
	open := l.openDisk
	switch {
	case l.options.ReadOnly && l.options.Recover:
		return errors.New("it is to be recovered, which changes it, and opened to read only: ask for one of the two")
	case l.options.ReadOnly:
		open = openReadDisk
	case l.lookAt != nil && !l.options.Recover:
		// A damaged database is rejected before LevelDB creates any file. A recovery inspects it itself.
		if err := look(l.lookAt, dir); err != nil {
			return err
		}
	}
	files, err := opened(open, dir)
	if err != nil {
		return err
	}
	if err := d.open(files, o); err != nil {
		return cmp.Or(err, files.Close())
	}
	return nil
}

// look rejects a damaged database.
func look(open func(dir string) (disk, error), dir string) error {
	d, err := opened(open, dir)
	if err != nil {
		return err
	}
	n, err := readNote(d)
	if err == nil {
		_, _, err = inspect(d, n)
	}
	return cmp.Or(err, d.Close())
}

// open opens the database in a locked directory, and reads it through if necessary. After an error only the directory
// is open.
func (d *database) open(files disk, o storage.LayerOptions) error {
	err := checkComplete(files)
	if err != nil && !(o.AllowIncomplete && errors.Is(err, storage.ErrIncomplete)) {
		return err
	}
	n, err := readNote(files)
	if err != nil {
		return err
	}
	d.disk = newFailstop(files, d.options.Logger)
	known, err := d.openDatabase(n)
	// Damage of tables is found only by reading them.
	if err == nil && (!known || d.options.Recover) {
		d.survey, err = surveyDatabase(d.db, d.options.Recover)
	}
	if d.options.Recover && isCorrupt(err) {
		err = d.recover(err)
	}
	if err == nil && !d.options.SkipInvalid {
		err = d.survey.invalid.refusal()
	}
	if err = cmp.Or(err, d.disk.failure()); err != nil {
		d.closeDatabase()
		return err
	}
	d.revisions = &revisions{disk: d.disk, last: max(n.revision, d.survey.revision)}
	return nil
}

// openDatabase opens the database without changes. It is known if nobody has touched it since it was surveyed and
// closed.
func (d *database) openDatabase(n note) (known bool, err error) {
	exists, fingerprint, err := inspect(d.disk, n)
	if err == nil && !exists {
		err = enginekit.NoStore(fs.ErrNotExist)
		if !d.options.ReadOnly {
			err = removeHalfMade(d.disk)
		}
	}
	if err != nil {
		return false, err
	}
	if d.db, err = leveldb.Open(d.disk, d.leveldbOptions()); err != nil {
		return false, cmp.Or(d.disk.failure(), err)
	}
	return fingerprint != "" && fingerprint == n.fingerprint, d.disk.failure()
}

// inspect reports whether there is a database, and returns its fingerprint. Damage and missing files are a corruption
// error. It changes nothing.
func inspect(d disk, n note) (exists bool, fingerprint string, err error) {
	if exists, err = checkWhole(d); err != nil || !exists {
		return false, "", err
	}
	if fingerprint, err = readLogs(d); err == nil {
		err = checkClosed(fingerprint, n.fingerprint)
	}
	return err == nil, fingerprint, err
}

// closeDatabase closes everything that is open after an error. The caller returns that error.
func (d *database) closeDatabase() {
	if d.db == nil {
		return
	}
	if err := d.db.Close(); err != nil {
		d.options.Logger.Debug("ko: close after a failed open", "error", err)
	}
	d.db = nil
}

func (d *database) leveldbOptions() *opt.Options {
	return &opt.Options{
		BlockCacheCapacity:     int(min(d.options.CacheSize, math.MaxInt)),
		OpenFilesCacheCapacity: 256,
		WriteBuffer:            d.options.WriteBuffer,
		// A filter in each new table makes the look-up of an absent key possible without a read. Software without the
		// filter can still read such tables.
		Filter: filter.NewBloomFilter(10),
		// A large batch goes through the log like any other: LevelDB's other method holds locks forever if the disk
		// fails.
		DisableLargeBatchTransaction: true,
		ReadOnly:                     d.options.ReadOnly,
		ErrorIfMissing:               d.options.ReadOnly,
		// Reads never cause writes.
		DisableSeeksCompaction: true,
		// Reading damaged data is an error. readLogs finds damage in logs and in the manifest, and distinguishes it
		// from a record that a crash cut short.
		Strict: opt.StrictJournalChecksum | opt.StrictBlockChecksum | opt.StrictCompaction | opt.StrictReader,
	}
}

// Close implements enginekit.Database.
func (d *database) Close() error {
	d.compactions.Wait() // closing LevelDB during a compaction is a data race in it
	err := cmp.Or(d.db.Close(), d.disk.failure())
	if err == nil && !d.options.ReadOnly {
		err = d.noteClosed()
	}
	return cmp.Or(err, d.disk.Close())
}

// noteClosed stores the last revision, and the state in which the database was closed.
func (d *database) noteClosed() error {
	n := note{revision: d.revisions.highest()}
	if d.survey.invalid.count+d.survey.undecodable.count == 0 {
		fingerprint, err := readLogs(d.disk)
		if err != nil {
			return err
		}
		n.fingerprint = fingerprint
	}
	return d.disk.WriteNote(revisionFile, n.encode())
}
