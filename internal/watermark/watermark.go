// Package watermark has a number that only grows, for example the revision up to which everything is applied, and that
// goroutines can wait for.
package watermark

import "sync"

// Watermark is such a number. The zero value is 0. All methods may be called concurrently.
type Watermark struct {
	mu    sync.Mutex // guards the fields below
	at    uint64
	moved chan struct{} // closed when at grows; nil until requested
}

// Raise raises the watermark to at least to.
func (w *Watermark) Raise(to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to <= w.at {
		return
	}
	w.at = to
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// At returns the watermark.
func (w *Watermark) At() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// Moved returns the watermark, and a channel that is closed once it grows.
func (w *Watermark) Moved() (at uint64, moved <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w.at, w.moved
}
