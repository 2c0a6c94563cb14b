package enginekit

// Durability says when a write is acknowledged.
type Durability int

const (
	// Sync acknowledges a write after it was synced to the disk. Nothing acknowledged is lost, whatever crashes. It is
	// the default.
	Sync Durability = iota
	// NoSync acknowledges a write before. What a crash costs then is for the engine to say; it is always the newest.
	NoSync
)
