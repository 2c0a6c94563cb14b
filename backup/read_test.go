package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/backup"
)

func verify(t testing.TB, file []byte) (backup.Info, error) {
	t.Helper()
	return backup.Verify(t.Context(), bytes.NewReader(file), backup.VerifyOptions{})
}

// refused demands that a file is refused as one of some kinds.
func refused(t *testing.T, what string, file []byte, kinds ...error) {
	t.Helper()
	_, err := verify(t, file)
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			oneLine(t, err)
			return
		}
	}
	t.Errorf("%s: %v, want one of %v", what, err, kinds)
}

// TestEveryByteCounts flips bits at each byte of a small backup, and at bytes all over one of many blocks.
func TestEveryByteCounts(t *testing.T) {
	small, _ := sample(t)
	store := inMemory(t)
	fill(t, store)
	large, _ := written(t, store, backup.WriteOptions{Pattern: "many/*"})
	for _, test := range []struct {
		name  string
		file  []byte
		step  int
		flips []byte
	}{{"small", small, 1, []byte{1, 0x80, 0xff}}, {"large", large, len(large)/50 + 1, []byte{1}}} {
		t.Run(test.name, func(t *testing.T) {
			for at := 0; at < len(test.file); at += test.step {
				for _, bits := range test.flips {
					damaged := bytes.Clone(test.file)
					damaged[at] ^= bits
					refused(t, fmt.Sprintf("byte %d of %d changed by %#x", at, len(damaged), bits), damaged,
						backup.ErrDamaged, backup.ErrForeign, backup.ErrVersion)
				}
			}
		})
	}
}

// TestEveryTruncation cuts a backup off behind each of its bytes.
func TestEveryTruncation(t *testing.T) {
	file, _ := sample(t)
	refused(t, "nothing", nil, backup.ErrForeign)
	for n := 1; n < len(file); n++ {
		refused(t, fmt.Sprintf("%d of %d bytes", n, len(file)), file[:n], backup.ErrTruncated)
		refused(t, fmt.Sprintf("%d of %d bytes", n, len(file)), file[:n], backup.ErrDamaged)
	}
	refused(t, "one byte more", append(bytes.Clone(file), 0), backup.ErrDamaged)
	refused(t, "twice", append(bytes.Clone(file), file...), backup.ErrDamaged)
	refused(t, "a byte missing in the middle", append(bytes.Clone(file[:100]), file[101:]...), backup.ErrDamaged)
}

func TestWhatIsNoBackup(t *testing.T) {
	file, _ := sample(t)
	for name, content := range map[string]string{
		"text": "hello", "JSON": `{"path":"a","data":1}`, "zeros": strings.Repeat("\x00", 1000), "gzip": "\x1f\x8b\x08\x00",
		"a backup that was sent as text": strings.Replace(string(file), "\n", "\r\n", 1),
	} {
		refused(t, name, []byte(content), backup.ErrForeign)
	}
	newer := bytes.Clone(file)
	newer[8] = 2
	refused(t, "a newer version", newer, backup.ErrVersion)
	if _, err := verify(t, newer); !strings.Contains(err.Error(), "it is 2, this build knows 1") {
		t.Errorf("a newer version: %v", err)
	}
}

// TestErrorsOfTheReader shows that a failed read is not taken for a damaged file.
func TestErrorsOfTheReader(t *testing.T) {
	file, _ := sample(t)
	broken := errors.New("the network is gone")
	for n := range len(file) {
		source := io.MultiReader(bytes.NewReader(file[:n]), failing{broken})
		_, err := backup.Verify(t.Context(), source, backup.VerifyOptions{})
		if !errors.Is(err, broken) || errors.Is(err, backup.ErrDamaged) || errors.Is(err, backup.ErrForeign) {
			t.Errorf("a failure behind %d bytes: %v, want %v", n, err, broken)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Verify(ctx, bytes.NewReader(file), backup.VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// FuzzVerify shows that no bytes make a panic, that each refusal is one of the kinds that there are, and
// that what is accepted says the truth about its size.
func FuzzVerify(f *testing.F) {
	file, _ := sample(f)
	f.Add(file)
	f.Add(file[:len(file)-1])
	f.Add([]byte("\x89OOLITH\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := verify(t, data)
		if err == nil {
			if info.Size != int64(len(data)) || info.Version != 1 {
				t.Errorf("accepted %d bytes as %+v", len(data), info)
			}
			return
		}
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrForeign) && !errors.Is(err, backup.ErrVersion) {
			t.Errorf("refused with %v", err)
		}
	})
}
