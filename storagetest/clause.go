package storagetest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// T is the part of *testing.T that the suite uses, so that tests can run it where they expect a failure.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	// Fatalf ends the goroutine of the clause, as *testing.T does.
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
	TempDir() string
}

// Clause is one rule of the contract.
type Clause struct {
	// ID is the id of the clause and the name of its subtest, for example LAYER-07. It never changes.
	ID string
	// Demand is the rule.
	Demand string

	run func(t T, s *subject)
}

// Clauses returns all clauses in order: of layers, embedded layers, databases, events and subscriptions.
func Clauses() []Clause {
	return slices.Concat(layerClauses, embeddedClauses, databaseClauses, eventClauses, subscribeClauses)
}

// Options describe the tested layer or database. The zero value is right for a store in memory.
type Options struct {
	// Persistent means that the content survives Close and Start.
	Persistent bool
	// Reopen returns another database, not started, over the persistent data of a closed one. If nil, the closed
	// database itself is started again.
	Reopen func(t T, closed storage.Database) storage.Database
	// Exclusive means that a second instance on a directory in use is rejected.
	Exclusive bool
	// PartialGlobDel means that readers may see part of a glob delete: a store over a layer that is not a Batcher
	// cannot hide it without memory.
	PartialGlobDel bool
	// Corrupt damages the stored value of a key in the directory of a closed layer. If nil, the clauses on corruption
	// test nothing.
	Corrupt func(t T, dir, key string)
	// Patience is how long nothing may advance (no call returns and no event arrives) before the suite reports a
	// failure; 30 seconds when zero. It does not limit slow progress.
	Patience time.Duration
}

// subject is what a run of the suite tests: one of the functions is set.
type subject struct {
	Options
	beats        beats
	openLayer    func(t T) storage.Layer
	openEmbedded func(t T, dir string) storage.EmbeddedLayer
	openDatabase func(t T) storage.Database
}

// TestLayer runs the LAYER clauses. Each opens a fresh, empty layer.
func TestLayer(t *testing.T, open func(t T) storage.Layer, opts Options) {
	t.Helper()
	runAll(t, layerClauses, &subject{Options: opts, openLayer: open})
}

// TestEmbedded runs the LAYER and the EMBEDDED clauses. The function opens a layer on a directory, which may contain
// data of an earlier, closed instance.
func TestEmbedded(t *testing.T, open func(t T, dir string) storage.EmbeddedLayer, opts Options) {
	t.Helper()
	s := embeddedSubject(open, opts)
	logCapabilities(t, open(t, t.TempDir()))
	runAll(t, slices.Concat(layerClauses, embeddedClauses), s)
}

// embeddedSubject returns a subject whose plain layers each have a separate directory.
func embeddedSubject(open func(t T, dir string) storage.EmbeddedLayer, opts Options) *subject {
	return &subject{
		Options:      opts,
		openLayer:    func(t T) storage.Layer { return open(t, t.TempDir()) },
		openEmbedded: open,
	}
}

// TestDatabase runs the DATABASE clauses. Each opens a fresh, empty database.
func TestDatabase(t *testing.T, open func(t T) storage.Database, opts Options) {
	t.Helper()
	logDatabaseCapabilities(t, open(t))
	runAll(t, databaseClauses, &subject{Options: opts, openDatabase: open})
}

// TestEvents runs the EVENTS clauses. Each opens a fresh, empty database.
func TestEvents(t *testing.T, open func(t T) storage.Database, opts Options) {
	t.Helper()
	logDatabaseCapabilities(t, open(t))
	runAll(t, eventClauses, &subject{Options: opts, openDatabase: open})
}

// runAll runs each clause as a subtest.
func runAll(t *testing.T, clauses []Clause, s *subject) {
	t.Helper()
	for _, c := range clauses {
		t.Run(c.ID, func(t *testing.T) {
			t.Helper()
			c.check(t, s)
		})
	}
}

// check runs one clause. It reports a panic as a failure of the clause, and states the demand with a failure. The
// reported lines are those of the clause and of the test that runs the suite. A message logged while a goroutine ends
// would have a line of the runtime.
func (c Clause) check(t T, s *subject) {
	t.Helper()
	t.Cleanup(func() {
		t.Helper()
		if t.Failed() {
			t.Logf("%s demands: %s", c.ID, c.Demand)
		}
	})
	if text := c.panicOf(t, s); text != "" {
		t.Errorf("panic: %s", text)
	}
}

// panicOf runs a clause and returns the text of its panic.
func (c Clause) panicOf(t T, s *subject) (text string) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	c.run(t, s)
	return ""
}

func logCapabilities(t T, l storage.Layer) {
	t.Helper()
	_, batcher := storage.As[storage.Batcher](l)
	_, scanner := storage.As[storage.Scanner](l)
	_, hinter := storage.As[storage.SizeHinter](l)
	_, checker := storage.As[storage.Checker](l)
	_, compacter := storage.As[storage.Compacter](l)
	_, marker := storage.As[storage.IncompleteMarker](l)
	t.Logf("%T: Batcher %s, Scanner %s, SizeHinter %s, Checker %s, Compacter %s, IncompleteMarker %s", l,
		exercised(batcher), exercised(scanner), exercised(hinter), exercised(checker), exercised(compacter), exercised(marker))
}

func logDatabaseCapabilities(t T, db storage.Database) {
	t.Helper()
	_, watch := db.(watcher)
	_, lock := db.(locker)
	_, lease := leasesOf(db)
	_, commit := db.(committer)
	_, with := db.(conditional)
	_, update := db.(updater)
	_, page := db.(pager)
	_, subscribe := subscriberOf(db)
	t.Logf("%T: Watch %s, Lock %s, Acquire %s, Commit %s, SetWith %s, Update %s, Page %s, Subscribe %s", db, exercised(watch), exercised(lock),
		exercised(lease), exercised(commit), exercised(with), exercised(update), exercised(page), exercised(subscribe))
}

func exercised(ok bool) string {
	if ok {
		return "exercised"
	}
	return "not offered"
}

// String returns the clause as a line of text.
func (c Clause) String() string { return fmt.Sprintf("%s: %s", c.ID, c.Demand) }
