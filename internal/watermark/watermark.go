// Package watermark has a number that only grows, such as the revision up to which everything is applied, and that others
// wait for.
package watermark

import "sync"

// Watermark is such a number. The zero value is 0. All methods may be called from any number of goroutines.
type Watermark struct {
	mu    sync.Mutex // guards the fields below
	at    uint64
	moved chan struct{} // closed when at grows; nil while nobody asked
}

// Raise makes the watermark at least to.
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

// At returns where the watermark is.
func (w *Watermark) At() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// Moved returns where the watermark is, and a channel that is closed once it is beyond that.
func (w *Watermark) Moved() (at uint64, moved <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w.at, w.moved
}
