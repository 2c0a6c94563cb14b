package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// A server leaves a note with its address beside the store, for programs that find the store in use.

// servedSuffix is the suffix of the note's name, after the name of the store's directory or file.
const servedSuffix = ".served"

// note is the content of the note.
type note struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// noteServed writes the note of a served store and returns a closer that deletes it. It is called after opening the
// store. Only the holder of the store's lock writes the note, so it replaces the note of a killed server.
func noteServed(place, address string) (io.Closer, error) {
	if place == "" { // nobody can find a memory: store
		return io.NopCloser(nil), nil
	}
	name := place + servedSuffix
	err := writeFile(name, func(out io.Writer) error { return writeJSON(out, note{address, os.Getpid()}) })
	return noteFile(name), err
}

type noteFile string

// Close deletes the note.
func (name noteFile) Close() error {
	if err := os.Remove(string(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// notOpened is the error of a store that cannot be opened.
func notOpened(storeURL string, err error) error {
	err = whereServed(storeURL, err)
	if served, ok := errors.AsType[*servedError](err); ok {
		err = served // the location of the files adds nothing
	}
	return fmt.Errorf("store %s: %w", storeURL, err)
}

// whereServed adds the server's address to the error of a store in use.
func whereServed(storeURL string, err error) error {
	if !errors.Is(err, storage.ErrInUse) {
		return err
	}
	address := servedOn(location(storeURL))
	if address == "" {
		return err
	}
	return &servedError{address, err}
}

// servedError is the error of a store that a server holds open.
type servedError struct {
	address string
	err     error // of the engine, which knows only that its files are in use
}

func (e *servedError) Error() string {
	return fmt.Sprintf("its files are in use by a server; use --store %s", e.address)
}

func (e *servedError) Unwrap() error { return e.err }

// servedOn returns the address of the server that holds the store; empty if there is none. The store's lock is known
// to be held. The note of a killed server remains, and another process may then hold the lock, so the server must be
// alive and its address must answer.
func servedOn(place string) string {
	text, err := os.ReadFile(place + servedSuffix)
	var said note
	if place == "" || err != nil || json.Unmarshal(text, &said) != nil || said.PID <= 0 || !isAlive(said.PID) {
		return ""
	}
	address, err := url.Parse(said.URL)
	if err != nil || !isServer(said.URL) {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address.Host)
	if err != nil {
		return ""
	}
	_ = conn.Close() // nothing was said on it
	return said.URL
}
