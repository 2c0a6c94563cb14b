package storage

// database lets Adapter embed a Database in an unexported field.
type database = Database

// Adapter is a Database that forwards every call to another one, for code that needs a concrete type.
type Adapter struct {
	database
}

var _ Database = (*Adapter)(nil)

// NewAdapter returns an adapter of a store. For a nil store it wraps one without layers, which cannot be started.
func NewAdapter(db Database) *Adapter {
	if db == nil {
		db = New(LayeredConfig{})
	}
	return &Adapter{db}
}

// Underlying returns the store that the adapter wraps.
func (a *Adapter) Underlying() Database { return a.database }
