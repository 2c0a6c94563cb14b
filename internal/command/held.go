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

// A server notes beside the store where it serves it, so that whoever finds the store in use learns where to ask.

// servedSuffix is what the name of the note ends in, behind that of the store's directory or file.
const servedSuffix = ".served"

// note is what a server says of itself.
type note struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// noteServed writes the note of a store that is served, and returns what takes it away. It comes after the store was opened: only
// who holds its lock writes the note, so that one of a server that was killed is replaced.
func noteServed(place, address string) (io.Closer, error) {
	if place == "" { // memory: is found by nobody
		return io.NopCloser(nil), nil
	}
	name := place + servedSuffix
	err := writeFile(name, func(out io.Writer) error { return writeJSON(out, note{address, os.Getpid()}) })
	return noteFile(name), err
}

type noteFile string

// Close takes the note away.
func (name noteFile) Close() error {
	if err := os.Remove(string(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// notOpened is the error of a store that does not open.
func notOpened(storeURL string, err error) error {
	err = whereServed(storeURL, err)
	if served, ok := errors.AsType[*servedError](err); ok {
		err = served // whoever holds the files, where they are is no news
	}
	return fmt.Errorf("store %s: %w", storeURL, err)
}

// whereServed is the error of a store that does not open. Of one that is served, it says where.
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

// servedError is the error of a store that another process serves.
type servedError struct {
	address string
	err     error // of the engine, which knows no more than that its files are in use
}

func (e *servedError) Error() string {
	return fmt.Sprintf("its files are in use by a server; use --store %s", e.address)
}

func (e *servedError) Unwrap() error { return e.err }

// servedOn returns the address at which the store at a place is served; empty where no server says so that is there. The store's
// lock is known to be held. A note stays behind when its server is killed, and then another process may hold the lock: so the
// server must live and its address answer.
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
