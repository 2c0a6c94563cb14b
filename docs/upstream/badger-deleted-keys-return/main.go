// Deleted keys come back after RunValueLogGC: see ../badger-deleted-keys-return.md.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"

	"github.com/dgraph-io/badger/v4"
)

func main() {
	run(false)
	run(true)
}

func run(collect bool) {
	dir, err := os.MkdirTemp("", "badger-")
	check(err)
	defer os.RemoveAll(dir)
	fmt.Println("With collection:", collect)
	key := func(i int) []byte { return fmt.Appendf(nil, "key %04d", i) }
	// 1. The values of all keys are in the value log.
	with(dir, true, func(db *badger.DB, batch *badger.WriteBatch) {
		for i := range 1500 {
			check(batch.Set(key(i), bytes.Repeat([]byte("x"), 3000)))
		}
	})
	// 2. Most are overwritten, by values in the tree. The compaction at Close counts the garbage.
	with(dir, true, func(db *badger.DB, batch *badger.WriteBatch) {
		for i := range 1300 {
			check(batch.Set(key(i), []byte("small")))
		}
	})
	// 3. 100 of the others are deleted. The deletions are flushed to level 0, and stay there.
	with(dir, false, func(db *badger.DB, batch *badger.WriteBatch) {
		for i := 1300; i < 1400; i++ {
			check(batch.Delete(key(i)))
		}
	})
	// 4. The value log is collected. Then the deletions are merged with what they delete.
	with(dir, false, func(db *badger.DB, batch *badger.WriteBatch) {
		fmt.Println("  after the deletes:  ", count(db), "keys")
		if collect {
			check(db.RunValueLogGC(0.5))
			fmt.Println("  after RunValueLogGC:", count(db), "keys")
		}
		check(db.Flatten(2))
		fmt.Println("  after Flatten:      ", count(db), "keys")
	})
	with(dir, false, func(db *badger.DB, batch *badger.WriteBatch) {
		fmt.Println("  after a restart:    ", count(db), "keys")
	})
}

// with opens the database, and closes it, with a compaction of level 0 if asked for.
func with(dir string, compact bool, do func(db *badger.DB, batch *badger.WriteBatch)) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithLoggingLevel(badger.ERROR).
		WithValueThreshold(1 << 10).WithValueLogFileSize(2 << 20).WithCompactL0OnClose(compact))
	check(err)
	batch := db.NewWriteBatch()
	do(db, batch)
	check(batch.Flush())
	check(db.Close())
}

func count(db *badger.DB) (n int) {
	check(db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	}))
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
