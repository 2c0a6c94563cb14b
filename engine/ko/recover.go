package ko

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// RecoveryReport says what a recovery did.
//
// A recovery rebuilds the list of the tables from the tables that are in the directory, drops
// the blocks of them that are damaged, and replays the logs without their damaged records.
// What was dropped is gone: copy the directory first. A table that was no longer in use, but not removed
// yet, comes back with it, so that objects which were deleted lately can be there again.
type RecoveryReport struct {
	// Cause is the damage that made the recovery necessary.
	Cause error
	// Before is how many entries could be read before it, over all damage; -1 when the
	// database could not be opened at all.
	Before int
	// After is how many entries there are now. More than Before is no mistake: one
	// damaged block hides others.
	After int
	// Undecodable are the keys, the first 100 in byte order, whose entries are there but are no
	// objects; reading one is an error. Del removes it. UndecodableCount is how many there are.
	Undecodable      []string
	UndecodableCount int
	// Details says for each table what became of it, and what was dropped of the logs, in at
	// most 100 lines.
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

// countReadable counts the entries that can be read from a corrupt database without changing
// it, or returns -1.
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
	if err = enginekit.FirstError(err, db.Close()); err != nil {
		d.options.Logger.Debug("ko: count before a recovery", "error", err)
		return -1
	}
	return count
}

// endLenient ends the time in which LevelDB may leave out what it cannot read, and returns
// what it said.
func (f *failstop) endLenient() []string {
	f.lock.Lock()
	defer f.lock.Unlock()
	lines := f.lines
	f.lenient, f.lines = false, nil
	return lines
}
