package command

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestInterruptibleReadsAll(t *testing.T) {
	want := strings.Repeat("0123456789", 3*readAhead/10)
	for name, source := range map[string]io.Reader{
		"whole":    strings.NewReader(want),
		"halves":   iotest.HalfReader(strings.NewReader(want)),
		"data+EOF": iotest.DataErrReader(strings.NewReader(want)),
	} {
		if err := iotest.TestReader(newInterruptible(t.Context(), source), []byte(want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterruptibleWhileItWaits cancels a read that waits for a silent pipe.
func TestInterruptibleWhileItWaits(t *testing.T) {
	pipe, silent := io.Pipe()
	t.Cleanup(func() { _ = silent.Close() }) // ends the goroutine that still reads
	ctx, cancel := context.WithCancel(t.Context())
	r := newInterruptible(ctx, pipe)
	go cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// TestInterruptibleStopsAReadyInput shows that a file that never waits is left too.
func TestInterruptibleStopsAReadyInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newInterruptible(ctx, strings.NewReader("abc"))
	if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("first read: %d, %v", n, err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestOpenInput(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "x.json")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := openInput(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(in)
	if err != nil || string(content) != "content" || in.size != 7 || in.read.Load() != 7 || in.name != file {
		t.Errorf("read %q, %v of %s, size %d, counted %d", content, err, in.name, in.size, in.read.Load())
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	_, err = openInput(t.Context(), directory, nil)
	checkError(t, err, directory+": it is a directory, expected a file")
	_, err = openInput(t.Context(), file+"x", nil)
	checkError(t, err, file+"x: no such file")
}
