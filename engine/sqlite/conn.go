package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

const (
	// patience is the time that a connection waits for another program that holds a lock.
	patience = 10 * time.Second
	// heavyData is the size of data beyond which a connection is closed instead of reused, because it keeps the
	// memory that a large value took.
	heavyData = 8 << 20
	// keptLog is the length that FILE-wal is truncated to when it starts over.
	keptLog = 64 << 20
)

// conn is a connection of SQLite with its prepared statements. One goroutine at a time uses it.
type conn struct {
	db         *sqlite3.Conn
	files      *fileSystem
	statements map[string]*sqlite3.Stmt
	memory     int64 // the limit of its memory
	heavy      bool  // a large value passed through it
	broken     bool  // SQLite panicked in it
}

// openMode is the purpose of a connection.
type openMode string

const (
	toCreate openMode = "rwc" // creates the file
	toWrite  openMode = "rw"
	toRead   openMode = "rw" // readers too have to write the index of the log
	toLook   openMode = "ro" // changes nothing and takes no lock
)

// openConn opens a connection to a database. The path is absolute.
func openConn(path string, mode openMode, o Options) (c *conn, err error) {
	all, cache := o.memory()
	files, err := newFileSystem(o.vfs, mode == toLook)
	if err != nil {
		return nil, err
	}
	c = &conn{files: files, statements: map[string]*sqlite3.Stmt{}, memory: all}
	defer func() {
		if err != nil {
			c.close()
			c = nil
		}
	}()
	defer c.guard(&err)
	ctx := sqlite3.WithMaxMemory(context.Background(), all)
	if c.db, err = sqlite3.OpenContext(ctx, uri(path, mode, files.name)); err != nil {
		return c, err
	}
	if err := c.db.BusyTimeout(patience); err != nil {
		return c, err
	}
	if mode == toLook {
		// The index of the log is then in memory, one for each connection.
		if err := c.db.Exec(`PRAGMA locking_mode = EXCLUSIVE`); err != nil {
			return c, err
		}
	}
	return c, c.db.Exec(fmt.Sprintf(`PRAGMA cache_size = -%d; PRAGMA cell_size_check = ON`, cache>>10))
}

// uri names a database in the form that SQLite expects.
func uri(path string, mode openMode, vfs string) string {
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // that of a drive
	}
	query := url.Values{"mode": {string(mode)}, "vfs": {vfs}}
	return (&url.URL{Scheme: "file", Path: name, RawQuery: query.Encode()}).String()
}

// openWriter opens the connection that writes.
func openWriter(path string, o Options, onLog func(pages int)) (*conn, error) {
	c, err := openConn(path, toWrite, o)
	if err != nil {
		return nil, err
	}
	if err := c.makeWriter(o, onLog); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) makeWriter(o Options, onLog func(pages int)) (err error) {
	defer c.guard(&err)
	if readOnly, _ := c.db.ReadOnly("main"); readOnly {
		return sqlite3.READONLY
	}
	if err := c.useLog(); err != nil {
		return err
	}
	// log.go moves the log into the file.
	c.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		onLog(pages)
		return nil
	})
	// Rows written here have their checksum.
	if _, err := c.db.Config(sqlite3.DBCONFIG_ENABLE_TRIGGER, false); err != nil {
		return err
	}
	return cmp.Or(c.setSync(o.Durability), c.db.Exec(fmt.Sprintf(`PRAGMA journal_size_limit = %d`, keptLog)))
}

// openReader opens a connection that only reads.
func openReader(path string, mode openMode, o Options) (*conn, error) {
	c, err := openConn(path, mode, o)
	if err != nil {
		return nil, err
	}
	if err := c.makeReader(); err != nil {
		return nil, cmp.Or(err, c.close())
	}
	return c, nil
}

func (c *conn) makeReader() (err error) {
	defer c.guard(&err)
	return c.db.Exec(`PRAGMA query_only = ON; PRAGMA temp_store = MEMORY`)
}

// useLog switches the database to a write-ahead log. It already has one unless it is new or another program changed
// it.
func (c *conn) useLog() error {
	s, err := c.prepare(`PRAGMA journal_mode = WAL`)
	if err != nil {
		return err
	}
	mode := ""
	if s.Step() {
		mode = s.ColumnText(0)
	}
	if err := finish(s, nil); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("SQLite cannot keep a write-ahead log there (it keeps a journal of mode %q)", mode)
	}
	return nil
}

// setSync sets when the log is synced. On macOS a full sync also flushes the cache of the drive.
func (c *conn) setSync(d Durability) error {
	mode := "FULL"
	if d == DurabilityNoSync {
		mode = "NORMAL"
	}
	return c.db.Exec(`PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; PRAGMA synchronous = ` + mode)
}

// prepare returns the statement of a text. The first use prepares it.
func (c *conn) prepare(sql string) (*sqlite3.Stmt, error) {
	if s := c.statements[sql]; s != nil {
		return s, nil
	}
	s, _, err := c.db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
	if err != nil {
		return nil, err
	}
	c.statements[sql] = s
	return s, nil
}

// run runs a statement whose parameters, if any, are texts.
func (c *conn) run(sql string, texts ...string) error {
	s, err := c.bound(sql, texts...)
	if err != nil {
		return err
	}
	return s.Exec()
}

// bound returns a statement with its first parameters bound to texts.
func (c *conn) bound(sql string, texts ...string) (*sqlite3.Stmt, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		if err := s.BindText(i+1, text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// finish ends a stepped statement and returns the first error: one of the caller's, or one of the steps.
func finish(s *sqlite3.Stmt, err error) error { return cmp.Or(err, s.Err(), s.Reset()) }

// transact runs do in a transaction. After an error nothing is kept, except if the error is one of the commit itself.
func (c *conn) transact(do func() error) error {
	if err := c.run(beginWrite); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = c.run(commit)
	}
	if err == nil {
		return nil
	}
	return c.undo(err)
}

// undo rolls back the transaction that failed, unless SQLite has already done so.
func (c *conn) undo(cause error) error {
	if c.db.GetAutocommit() {
		return cause
	}
	if err := c.run(rollback); err != nil {
		return &undoError{cause: cause, err: err}
	}
	return cause
}

// undoError reports that a failed transaction could not be rolled back either.
type undoError struct{ cause, err error }

func (e *undoError) Error() string {
	return fmt.Sprintf("%v; and it cannot be undone: %v", e.cause, e.err)
}

func (e *undoError) Unwrap() error { return e.cause }

// guard is deferred around all calls of SQLite. It adds the cause to an error of the files, and converts a panic in
// SQLite's code to an error: that code panics when it runs out of its memory. The connection is not used again after
// a panic.
func (c *conn) guard(err *error) {
	value := recover()
	if value == nil {
		*err = c.files.explain(*err)
		return
	}
	c.broken = true
	cause, ok := value.(error)
	if !ok {
		cause = fmt.Errorf("%v", value)
	}
	*err = &panicError{cause: cause, memory: c.memory}
}

// panicError is a panic in SQLite's code.
type panicError struct {
	cause  error
	memory int64
}

func (e *panicError) Error() string {
	return fmt.Sprintf("SQLite broke off, with %d MiB of memory to work in: %s", e.memory>>20, enginekit.OneLine(e.cause.Error()))
}

func (e *panicError) Unwrap() error { return e.cause }

// usable reports whether the connection is worth keeping.
func (c *conn) usable() bool { return !c.heavy && !c.broken }

// carried records that a value of the given size passed through.
func (c *conn) carried(size int) { c.heavy = c.heavy || size > heavyData }

// close closes the connection.
func (c *conn) close() (err error) {
	defer c.files.close()
	if c.db == nil {
		return nil
	}
	defer c.guard(&err)
	c.db.SetInterrupt(context.Background())
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return cmp.Or(append(errs, c.db.Close())...)
}

// isCode reports whether an error is one of SQLite's with the given primary code.
func isCode(err error, code sqlite3.ErrorCode) bool { return errors.Is(err, code) }
