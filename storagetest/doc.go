// Package storagetest holds the rules of the store as tests: a conformance suite for any
// persistent layer and any database, ours or another's.
//
// A new engine runs the suite in a few lines:
//
//	func TestConformance(t *testing.T) {
//		open := func(t storagetest.T, dir string) storage.EmbeddedLayer {
//			return myengine.New(dir)
//		}
//		storagetest.TestEmbedded(t, open, storagetest.Options{
//			Persistent: true,
//			Exclusive:  true,
//			Corrupt:    func(t storagetest.T, dir, key string) { ... },
//		})
//		database := func(t storagetest.T) storage.Database {
//			return storage.New(storage.LayeredConfig{
//				Memory:     storage.NewMemoryLayer(),
//				Persistent: open(t, t.TempDir()),
//			})
//		}
//		opts := storagetest.Options{Persistent: true}
//		storagetest.TestDatabase(t, database, opts)
//		storagetest.TestEvents(t, database, opts)
//		storagetest.TestSubscribe(t, database, opts)
//		storagetest.TestModel(t, database, opts, 1)
//		storagetest.TestSubscriptions(t, database, opts, 1)
//	}
//
// Every open function returns a fresh value that is not started yet: the suite starts
// and closes it.
//
// Each rule is a [Clause] with an id and a demand, and a subtest named by its id. A
// failure prints the demand, with the line of whoever runs the suite. [Clauses] lists them all. What a layer may leave out, the
// optional interfaces of package storage, is checked where it is there; the suite logs
// what it found.
//
// The package also has what such tests need: [Faults], which wraps a layer and injects
// errors, delays and panics; [Disk], a persistent layer in memory; and [Model], the store
// as a map and a sort, against which [TestModel] compares random operations. What the subscriptions of a
// random run tell is recorded ([Told]) and held against their [Guarantees] by [TestSubscriptions].
package storagetest
