// Package storagetest is a conformance suite for any persistent layer and any database, ours or another's.
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
// Every open function returns a new value that is not started yet. The suite starts and closes it.
//
// Each rule is a [Clause] with an id and a demand, and a subtest with its id as the name. A failure prints the
// demand, and the line of the test that runs the suite. [Clauses] lists all of them. The suite tests the optional
// interfaces of package storage that a layer implements, and logs which it found.
//
// The package also has what such tests need: [Faults] wraps a layer and injects errors, delays and panics. [Disk] is
// a persistent layer in memory. [Model] is a simple store, with which [TestModel] compares random operations.
// [TestSubscriptions] records the subscriptions of a random run ([Told]) and checks their [Guarantees].
package storagetest
