package storage

// database lets Adapter embed a Database in a field that is not exported.
type database = Database

// Adapter is a Database that passes every call on to another one, for code that
// wants a concrete type.
type Adapter struct {
	database
}

var _ Database = (*Adapter)(nil)

// NewAdapter returns an adapter of a store. A nil store stands for one without layers,
// which cannot be started.
func NewAdapter(db Database) *Adapter {
	if db == nil {
		db = New(LayeredConfig{})
	}
	return &Adapter{db}
}

// Underlying returns the store that the adapter wraps.
func (a *Adapter) Underlying() Database { return a.database }
