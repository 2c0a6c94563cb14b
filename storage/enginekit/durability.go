package enginekit

// Durability determines when a write is acknowledged.
type Durability int

const (
	// Sync acknowledges a write after it was synced to the disk. No crash loses an acknowledged write. It is the
	// default.
	Sync Durability = iota
	// NoSync acknowledges a write before the sync. The engine documents what a crash can lose; it is always the newest
	// writes.
	NoSync
)
