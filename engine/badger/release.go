package badger

// What Badger may forget.
//
// Badger keeps the versions of a key that a view above a certain version, the discard version, can
// show. At and below it, a compaction drops all but the newest, and forgets a deletion altogether
// when nothing older is below it. That is right as long as nothing older can turn up elsewhere. But
// it can:
//
//   - A scan holds the tables in memory that it began with, and with them their logs, after they
//     were put on the disk. When the process crashes then, these logs are read back, as if they
//     were new: what was deleted since the scan began is back, if a compaction has forgotten that
//     it was deleted.
//   - The garbage collection of the value log writes anew what a key still names, also a version
//     that is deleted, and puts it above the deletion.
//
// So the discard version does not go beyond the version of the oldest scan. And the layer collects
// garbage in another way: see valuelog.go.

// release moves the discard version as far as nobody needs older ones.
func (s *store) release() {
	if s.health.failure() != nil {
		return
	}
	version := s.view.Load().version
	s.scanLock.Lock()
	for scan := range s.scans {
		version = min(version, scan.version)
	}
	s.scanLock.Unlock()
	// Who looks up an entry by an older view has ended, or began before the lock and is waited for.
	s.reading.Lock()
	defer s.reading.Unlock()
	s.db.SetDiscardTs(version)
}
