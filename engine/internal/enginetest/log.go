package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// TestLogHandler writes to a store, flushes it and clears it. At each of the first records, a handler of the engine's
// log writes to the same store. The test fails if the engine logs while it holds a lock that the write needs.
func TestLogHandler(t *testing.T, layer func(dir string, log *slog.Logger) storage.EmbeddedLayer) {
	handler := &writingHandler{left: 50}
	place := layer(t.TempDir(), slog.New(handler))
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: place})
	handler.store = store
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	Within(t, "a store whose log handler writes to it", func() {
		for i := range 400 {
			data, err := json.Marshal(strings.Repeat("x", 20_000))
			if err == nil {
				_, err = store.Set(fmt.Sprint("d/", i%50), data)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
		if c, ok := storage.As[storage.Compacter](place); ok {
			if err := c.Compact(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := store.Truncate(); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	t.Logf("the handler wrote %d times", handler.wrote.Load())
}

// writingHandler writes to a store.
type writingHandler struct {
	store *storage.Layered
	left  int // one goroutine at a time handles records
	wrote atomic.Int64
}

func (h *writingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *writingHandler) Handle(_ context.Context, r slog.Record) error {
	if h.left--; h.left < 0 {
		return nil
	}
	data, err := json.Marshal(r.Message)
	if err == nil {
		_, err = h.store.Push("log/*", data) // ErrNotActive if the store is closed or not started yet
	}
	if err == nil {
		h.wrote.Add(1)
	}
	return err
}

func (h *writingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *writingHandler) WithGroup(string) slog.Handler      { return h }
