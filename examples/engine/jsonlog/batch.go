package jsonlog

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// BatchLayer is a Layer that is also a storage.Batcher.
type BatchLayer struct{ *Layer }

var _ storage.Batcher = (*BatchLayer)(nil)

// NewBatch returns a BatchLayer on the file log.jsonl of a directory, which must exist.
func NewBatch(dir string) *BatchLayer { return &BatchLayer{New(dir)} }

// Commit implements storage.Batcher. The changes are one line, so they are stored together or not at all.
func (l *BatchLayer) Commit(changes []storage.Change) error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.file == nil {
		return storage.ErrNotActive
	}
	if len(changes) == 0 {
		return nil
	}
	texts := make([]string, len(changes))
	for i, c := range changes {
		text, err := l.prepare(c)
		if err != nil {
			return &storage.EntryError{Index: i, Err: err}
		}
		texts[i] = text
	}
	if err := l.append(strings.Join(texts, "\t")); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		path, e := asEntry(c)
		l.revision = max(l.revision, c.Revision)
		apply(l.objects, path, e)
	}
	return nil
}

// prepare checks a change and returns its entry as text.
func (l *BatchLayer) prepare(c storage.Change) (string, error) {
	switch {
	case !c.IsClear():
		if err := l.accepts(c.Key); err != nil {
			return "", err
		}
	case c.Key != "" || c.Object != nil:
		return "", fmt.Errorf("a clear with key %q: %w", c.Key, storage.ErrInvalidOptions)
	}
	if c.Object != nil && len(c.Object.Data) == 0 {
		return "", storage.ErrInvalidStorageData
	}
	path, e := asEntry(c)
	return encode(path, e)
}

// asEntry returns the path and the entry of a change.
func asEntry(c storage.Change) (path string, e entry) {
	e.Commit = c.Revision
	if c.Object != nil {
		e.Object, e.Data = *c.Object, bytes.Clone(c.Object.Data)
	}
	return cmp.Or(c.Key, everything), e
}

// LastRevision implements storage.Batcher.
func (l *BatchLayer) LastRevision() (uint64, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.file == nil {
		return 0, storage.ErrNotActive
	}
	return l.revision, nil
}
