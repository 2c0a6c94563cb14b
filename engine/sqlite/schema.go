package sqlite

import (
	"fmt"

	sqlite3 "github.com/ncruces/go-sqlite3"
)

// applicationID marks the file as ours in the header of the database: "Ooli" in ASCII. A file without it is rejected
// before SQLite touches it.
const applicationID = 0x4f6f6c69

// migrations lead from one version of the layout to the next: the first creates version 1. A released migration is
// never changed; a new layout is a new entry.
//
// Version 1 is an ordinary table. Its rows are stored in insertion order, which suits objects of any size: a table
// WITHOUT ROWID keeps rows larger than a quarter of a page in separate pages, so objects of 1500 bytes take twice the
// space and three times as long. The directory and the index are computed from the path. They never disagree with it,
// and a row can be added by hand. The index objects_place has the rows in the order of scans; the primary key has
// them by path. There is no index by time: it would cost a third of the write speed, and no call of a layer uses it.
// You can add one to query by time.
//
// revision holds the 64 bits of an unsigned number as a signed one (two's complement), because SQLite has no other
// type. At one change per nanosecond, a store reaches a negative number after 292 years. checksum is defined in
// row.go, or NULL.
//
// The table oolith has the layer's own records: see notes.go.
var migrations = []string{
	`
CREATE TABLE oolith (
  name  TEXT NOT NULL PRIMARY KEY,
  value
) WITHOUT ROWID;
CREATE TABLE objects (
  path      TEXT NOT NULL PRIMARY KEY,
  directory TEXT GENERATED ALWAYS AS (rtrim(rtrim(path, replace(path, '/', '')), '/')) VIRTUAL,
  "index"   TEXT GENERATED ALWAYS AS (substr(path, length(rtrim(path, replace(path, '/', ''))) + 1)) VIRTUAL,
  created   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000)
            CONSTRAINT "created is in Unix nanoseconds" CHECK (typeof(created) = 'integer'),
  updated   INTEGER NOT NULL DEFAULT 0
            CONSTRAINT "updated is in Unix nanoseconds" CHECK (typeof(updated) = 'integer'),
  revision  INTEGER NOT NULL DEFAULT 0
            CONSTRAINT "revision is an integer" CHECK (typeof(revision) = 'integer'),
  expires   INTEGER NOT NULL DEFAULT 0
            CONSTRAINT "expires is in Unix nanoseconds, or 0" CHECK (typeof(expires) = 'integer'),
  data      TEXT NOT NULL
            CONSTRAINT "data is JSON text" CHECK (typeof(data) = 'text'),
  checksum  INTEGER
);
CREATE INDEX objects_place ON objects (directory, "index");
CREATE TRIGGER objects_edited
AFTER UPDATE OF path, created, updated, revision, expires, data ON objects
WHEN NEW.checksum IS OLD.checksum
BEGIN
  UPDATE objects SET checksum = NULL WHERE path = NEW.path;
END;
`,
}

// The statements of the layer. The columns of an object have one order, see row.go.
const (
	beginRead  = `BEGIN`
	beginWrite = `BEGIN IMMEDIATE`
	commit     = `COMMIT`
	rollback   = `ROLLBACK`

	columns   = `created, updated, revision, expires, data, checksum, path`
	getObject = `SELECT ` + columns + ` FROM objects WHERE path = ?1`
	// scanObjects follows the index from a position on, and never sorts.
	scanObjects = `SELECT ` + columns + ` FROM objects INDEXED BY objects_place
WHERE (directory, "index") >= (?1, ?2) ORDER BY directory, "index"`
	// checkObjects follows the primary key from a path on.
	checkObjects = `SELECT ` + columns + ` FROM objects WHERE path >= ?1 ORDER BY path`
	listPaths    = `SELECT path FROM objects WHERE path >= ?1 ORDER BY path`
	countObjects = `SELECT count(*) FROM objects`

	putObject = `INSERT INTO objects (` + columns + `) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (path) DO UPDATE SET created = excluded.created, updated = excluded.updated,
revision = excluded.revision, expires = excluded.expires, data = excluded.data, checksum = excluded.checksum`
	deleteObject = `DELETE FROM objects WHERE path = ?1`
	clearObjects = `DELETE FROM objects`

	getNote    = `SELECT value FROM oolith WHERE name = ?1`
	putNote    = `INSERT INTO oolith (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	deleteNote = `DELETE FROM oolith WHERE name = ?1`
)

// The statements prepared at the start. Preparing them detects a missing table or index.
var (
	readStatements  = []string{getObject, scanObjects, checkObjects, listPaths, countObjects}
	writeStatements = []string{putObject, deleteObject, clearObjects, putNote, deleteNote}
)

func (c *conn) prepareAll(statements []string) error {
	for _, sql := range statements {
		if _, err := c.prepare(sql); err != nil {
			return fmt.Errorf("its tables are not those of a store: %w", err)
		}
	}
	return nil
}

// migrate applies the steps from a version on. Each step is atomic.
func migrate(c *conn, steps []string, from int64) error {
	for version := from; version < int64(len(steps)); version++ {
		err := c.transact(func() error {
			if err := c.db.Exec(steps[version]); err != nil {
				return err
			}
			return c.putNote(noteSchema, func(s *sqlite3.Stmt) error { return s.BindInt64(2, version+1) })
		})
		if err != nil {
			return fmt.Errorf("change the layout of the file from version %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}

// checkVersion returns the version of the layout of one of our databases.
func checkVersion(c *conn) (int64, error) {
	version, found, err := c.intNote(noteSchema)
	if err != nil {
		return 0, err
	}
	if !found || version < 1 {
		return 0, fmt.Errorf("its table oolith says no version of its layout; restore the file from a backup")
	}
	if newest := int64(len(migrations)); version > newest {
		return 0, fmt.Errorf("its layout has version %d, this build knows up to %d; use a newer build", version, newest)
	}
	return version, nil
}
