package ko

import (
	"cmp"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// RecoveryReport describes a recovery.
//
// A recovery rebuilds the list of the tables from the tables in the directory, drops their damaged blocks, and
// replays the logs without their damaged records. Dropped content is permanently lost: copy the directory first. A
// table that was no longer in use, but not removed yet, comes back, so recently deleted objects can reappear.
type RecoveryReport struct {
	// Cause is the damage that made the recovery necessary.
	Cause error
	// Before is the number of entries that were readable before the recovery, despite all damage; -1 if the database
	// could not be opened at all.
	Before int
	// After is the number of entries after the recovery. It can exceed Before: one damaged block hides others.
	After int
	// Undecodable lists the keys, the first 100 in byte order, whose entries exist but are not valid objects. Reading
	// one fails; Del removes it. UndecodableCount is their total number.
	Undecodable      []string
	UndecodableCount int
	// Details says what happened to each table, and what was dropped from the logs, in at most 100 lines.
	Details []string
}

// recover rebuilds a corrupt database and opens it.
func (d *database) recover(cause error) error {
	d.closeDatabase()
	before := d.countReadable()
	disk := newFailstop(d.disk.disk, d.options.Logger)
	disk.lenient = true
	d.disk = disk
	repaired, err := repairTables(disk)
	if err != nil {
		return fmt.Errorf("recovery from (%w): %w", cause, err)
	}
	if d.db, err = leveldb.Recover(disk, d.leveldbOptions()); err != nil {
		return fmt.Errorf("recovery from (%w): %w", cause, err)
	}
	if d.survey, err = surveyDatabase(d.db, true); err != nil {
		return fmt.Errorf("recovery from (%w): read what was recovered: %w", cause, err)
	}
	report := &RecoveryReport{Cause: cause, Before: before, After: d.survey.entries}
	report.Details = append(repaired, disk.endLenient()...)
	report.Details = report.Details[:min(len(report.Details), maxLines)]
	report.Undecodable, report.UndecodableCount = d.survey.undecodable.first, d.survey.undecodable.count
	d.recovery = report
	d.options.Logger.Warn("ko: recovered a corrupt store", "dir", d.dir, "cause", cause,
		"before", before, "after", report.After, "undecodable", report.UndecodableCount,
		"keys", report.Undecodable, "details", report.Details)
	return nil
}

// countReadable counts the readable entries of a corrupt database without changing it, or returns -1.
func (d *database) countReadable() int {
	options := d.leveldbOptions()
	options.ReadOnly, options.ErrorIfMissing = true, true
	options.Strict = opt.StrictJournalChecksum | opt.StrictBlockChecksum
	disk := newFailstop(d.disk.disk, d.options.Logger)
	disk.lenient = true
	db, err := leveldb.Open(disk, options)
	if err != nil {
		return -1
	}
	count := 0
	it := db.NewIterator(nil, throughOptions)
	for it.Next() {
		count++
	}
	err = it.Error()
	it.Release()
	if err = cmp.Or(err, db.Close()); err != nil {
		d.options.Logger.Debug("ko: count before a recovery", "error", err)
		return -1
	}
	return count
}

// endLenient ends the lenient mode of LevelDB, and returns its messages.
func (f *failstop) endLenient() []string {
	f.lock.Lock()
	defer f.lock.Unlock()
	lines := f.lines
	f.lenient, f.lines = false, nil
	return lines
}
