package badger

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// Encryption.
//
// The given key, the master key, encrypts a list of data keys, the file KEYREGISTRY. Data keys encrypt the tables and
// logs. Every ten days a new data key is created for new files. RotateKey rewrites the list with another master key:
// it takes no time, and rewrites no other file.
//
// Sizes and numbers of files, and the file FORMAT, are not encrypted.

// ParseKey reads an encryption key: 16, 24 or 32 bytes (AES-128, AES-192 or AES-256), or twice as many hexadecimal
// digits. 32 hexadecimal digits are a key of 16 bytes. A newline at the end is ignored if the rest is a valid key.
// Errors never contain any part of the content.
func ParseKey(content []byte) ([]byte, error) {
	if key, ok := keyIn(content); ok {
		return key, nil
	}
	for _, newline := range []string{"\r\n", "\n"} {
		if n := len(content) - len(newline); n >= 0 && string(content[n:]) == newline {
			if key, ok := keyIn(content[:n]); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("the key for encryption has %d bytes, expected 16, 24 or 32 bytes or twice as many "+
		"hexadecimal digits", len(content))
}

func keyIn(content []byte) ([]byte, bool) {
	if n := len(content); n == 32 || n == 48 || n == 64 {
		key := make([]byte, n/2)
		if _, err := hex.Decode(key, content); err == nil {
			return key, true
		}
	}
	switch len(content) {
	case 16, 24, 32:
		return append([]byte(nil), content...), true
	}
	return nil, false
}

// key returns the key that the options name; nil if none.
func (o Options) key() ([]byte, error) {
	content, from := o.Key, ""
	given := min(len(o.Key), 1)
	if o.KeyFile != "" {
		given++
		var err error
		if content, err = os.ReadFile(o.KeyFile); err != nil {
			return nil, fmt.Errorf("read the key for encryption: %w", err)
		}
		from = "file " + o.KeyFile
	}
	if o.KeyEnv != "" {
		given++
		value, set := os.LookupEnv(o.KeyEnv)
		if !set {
			return nil, fmt.Errorf("the environment variable %s, which is to hold the key for encryption, is not set", o.KeyEnv)
		}
		content, from = []byte(value), "environment variable "+o.KeyEnv
	}
	switch {
	case given > 1:
		return nil, errors.New("more than one key for encryption is given, expected one of a key, a file and an environment variable")
	case from == "":
		return content, checkKey(content)
	}
	key, err := ParseKey(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return key, nil
}

// checkKey accepts a valid key, or none.
func checkKey(key []byte) error {
	switch len(key) {
	case 0, 16, 24, 32:
		return nil
	}
	return fmt.Errorf("the key for encryption has %d bytes, expected 16, 24 or 32", len(key))
}

// The errors of a key that does not match.
var (
	errWrongKey   = errors.New("the key for encryption is not the one of this store")
	errNeedsKey   = errors.New("the store is encrypted; a key is needed")
	errNeedsNoKey = errors.New("the store is not encrypted, and a key is given; leave it out, " +
		"or copy the store into a new one that has the key")
)

// errNoRegistry reports an encrypted store without its list of data keys.
var errNoRegistry = corrupt("the list of data keys, %s, is missing", badger.KeyRegistryFileName)

// isRegistry reports whether content has the form of a list of data keys: a header, which shows whether a key
// matches, then data keys, each after its length and its checksum. Badger does not validate the lengths.
func isRegistry(content []byte) bool {
	const beginning, before = 16 + 12, 4 + 4
	if len(content) < beginning {
		return false
	}
	for content = content[beginning:]; len(content) > 0; {
		if len(content) < before {
			return false
		}
		end := before + int64(binary.BigEndian.Uint32(content))
		if end == before || end > int64(len(content)) {
			return false
		}
		content = content[end:]
	}
	return true
}

// openRegistry opens the list of data keys of a locked directory. It returns nil if there is none.
func openRegistry(dir string, key []byte) (*badger.KeyRegistry, error) {
	content, err := os.ReadFile(filepath.Join(dir, badger.KeyRegistryFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isRegistry(content) {
		return nil, corrupt("the list of data keys, %s, is cut short or followed by something else", badger.KeyRegistryFileName)
	}
	open := func(key []byte) (registry *badger.KeyRegistry, err error) {
		err = unpanicked(func() error {
			registry, err = badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: dir, ReadOnly: true, EncryptionKey: key})
			return err
		})
		return registry, restored(err)
	}
	registry, err := open(key)
	if !errors.Is(err, badger.ErrEncryptionKeyMismatch) {
		if err != nil {
			return nil, corrupt("the list of data keys cannot be read, %w", err)
		}
		return registry, nil
	}
	if len(key) == 0 {
		return nil, errNeedsKey
	}
	if _, err := open(nil); err == nil {
		return nil, errNeedsNoKey
	}
	return nil, errWrongKey
}

// RotateKey replaces the master key of an encrypted store that is not open. It is atomic: after a crash the store has
// the old key or the new one. Existing content is not encrypted anew: with the old key and an old copy of the file
// KEYREGISTRY, everything written before can still be read.
func RotateKey(dir string, old, replacement []byte) error {
	if err := rotateKey(dir, old, replacement); err != nil {
		return fmt.Errorf("badger: rotate the key of %s: %w", dir, explain(err))
	}
	return nil
}

func rotateKey(dir string, old, replacement []byte) (err error) {
	for _, key := range [][]byte{old, replacement} {
		if len(key) == 0 {
			return errors.New("a key for encryption is empty")
		}
		if err := checkKey(key); err != nil {
			return err
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file, expected a directory", dir)
	}
	if _, err := readSmall(dir, enginekit.FormatFile); err != nil {
		return fmt.Errorf("this is no store of this kind: %w", err)
	}
	held, err := lockDir(dir, false)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, held.release()) }()
	if _, err := checkFormat(dir); err != nil {
		return err
	}
	registry, err := openRegistry(dir, old)
	if err != nil {
		return err
	}
	if registry == nil {
		return errNoRegistry
	}
	return badger.WriteKeyRegistry(registry, badger.KeyRegistryOptions{Dir: dir, EncryptionKey: replacement})
}
