package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/key"
)

// Tokens are in a directory beside the store, not in it. They can be created and revoked while a server holds the
// store, and backups and subscribers do not contain their hashes. Each is a separate file, written completely, so
// concurrent creations cannot lose each other.

// Scope is what a token allows: verbs for everything that a pattern matches.
type Scope struct {
	// Pattern is a path or pattern. One that ends in ** matches everything below.
	Pattern string `json:"pattern"`
	// Verbs are some of "read", "write" and "admin".
	Verbs []Verb `json:"verbs"`
}

// ParseScope parses a scope in the form of the command line: VERB,VERB:PATTERN, such as read,write:devices/**.
func ParseScope(text string) (Scope, error) {
	verbs, pattern, ok := strings.Cut(text, ":")
	if !ok {
		return Scope{}, fmt.Errorf("scope %q: expected VERBS:PATTERN such as read,write:devices/**", text)
	}
	scope := Scope{Pattern: pattern, Verbs: strings.Split(verbs, ",")}
	return scope, scope.check()
}

func (s Scope) check() error {
	if err := key.Check(s.Pattern); err != nil {
		return fmt.Errorf("scope %q: invalid pattern, %w", s, err)
	}
	if len(s.Verbs) == 0 {
		return fmt.Errorf("scope %q: the verbs are missing, expected some of read, write, admin", s)
	}
	for _, verb := range s.Verbs {
		if verb != Read && verb != Write && verb != Admin {
			return fmt.Errorf("scope %q: unknown verb %q, expected read, write or admin", s, verb)
		}
	}
	return nil
}

func (s Scope) String() string { return strings.Join(s.Verbs, ",") + ":" + s.Pattern }

// Token is a token without its secret.
type Token struct {
	// ID identifies the token. It is part of the token but not secret.
	ID string `json:"id"`
	// Name is a name for people.
	Name string `json:"name"`
	// Scopes are the scopes of the token.
	Scopes []Scope `json:"scopes"`
	// Created is the time of creation.
	Created time.Time `json:"created"`
	// Expires is the end of its validity; zero for none.
	Expires time.Time `json:"expires,omitzero"`
}

// tokenFile is the stored form of a token.
type tokenFile struct {
	Token
	// Hash is the SHA-256 of the whole token, in hexadecimal. The secret has 256 random bits, so a slower hash would
	// add nothing.
	Hash string `json:"hash"`
}

// held is a token that a server knows. It is immutable, except that done is closed at its end.
type held struct {
	tokenFile
	done chan struct{} // closed when the token is revoked or expired
}

// String names the token in logs.
func (h *held) String() string { return h.ID }

// Done is closed when the token is no longer valid.
func (h *held) Done() <-chan struct{} { return h.done }

func (h *held) expired(now time.Time) bool { return !h.Expires.IsZero() && !now.Before(h.Expires) }

const (
	tokenPrefix = "oolith_"
	tokenSuffix = ".json"
	// tokenPoll is the interval at which the directory is read. A revoked token is rejected after that time.
	tokenPoll = 250 * time.Millisecond
)

// Tokens are the tokens in a directory. All methods may be called concurrently.
type Tokens struct {
	dir    string
	logger *slog.Logger
	known  atomic.Pointer[map[string]*held] // by ID; replaced, never changed

	mu      sync.Mutex // held while the directory is read
	failing bool       // the last look failed: it is logged once

	stop func()
	gone chan struct{}
}

// OpenTokens reads the tokens in a directory, which it creates if it does not exist. Until Close it follows tokens
// that are created and revoked there, by this process or another one. The logger, slog.Default() if nil, gets later
// read errors.
func OpenTokens(dir string, logger *slog.Logger) (*Tokens, error) {
	if logger == nil {
		logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	t := &Tokens{dir: dir, logger: logger, gone: make(chan struct{})}
	none := map[string]*held{}
	t.known.Store(&none)
	if err := t.Reload(); err != nil {
		return nil, err
	}
	quit := make(chan struct{})
	t.stop = sync.OnceFunc(func() { close(quit) })
	go t.follow(quit)
	return t, nil
}

// Close stops following the directory. Known tokens stay valid.
func (t *Tokens) Close() {
	t.stop()
	<-t.gone
}

func (t *Tokens) follow(quit chan struct{}) {
	defer close(t.gone)
	tick := time.NewTicker(tokenPoll)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		err := t.Reload()
		t.mu.Lock()
		said := t.failing
		t.failing = err != nil
		t.mu.Unlock()
		if err != nil && !said {
			t.logger.Error("the tokens cannot be read; the known ones stay valid", "error", err)
		}
	}
}

// Reload reads the directory now. After an error the known tokens stay valid.
func (t *Tokens) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	before := *t.known.Load()
	after := make(map[string]*held, len(entries))
	now := time.Now()
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), tokenSuffix)
		if !ok {
			continue
		}
		// Files are written once and never changed.
		token := before[id]
		if token == nil {
			read, err := readToken(filepath.Join(t.dir, entry.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // revoked in the meantime
			}
			if err != nil {
				return fmt.Errorf("tokens: %w", err)
			}
			if read.ID != id {
				return fmt.Errorf("tokens: %s contains the token %q, expected the file name to be the ID", entry.Name(), read.ID)
			}
			token = &held{read, make(chan struct{})}
		}
		if !token.expired(now) {
			after[id] = token
		}
	}
	t.known.Store(&after)
	for id, token := range before {
		if after[id] == nil {
			close(token.done)
		}
	}
	return nil
}

func readToken(path string) (tokenFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tokenFile{}, err
	}
	var file tokenFile
	if err := json.Unmarshal(data, &file); err != nil {
		return tokenFile{}, fmt.Errorf("%s: %w", path, err)
	}
	if hash, err := hex.DecodeString(file.Hash); err != nil || len(hash) != sha256.Size {
		return tokenFile{}, fmt.Errorf("%s: the hash is not a SHA-256", path)
	}
	for _, scope := range file.Scopes {
		if err := scope.check(); err != nil {
			return tokenFile{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	return file, nil
}

// Create creates a token and returns it with its text, which contains the secret and is not stored. A lifetime of 0
// means no expiry.
func (t *Tokens) Create(name string, scopes []Scope, lifetime time.Duration) (Token, string, error) {
	token, text, err := CreateToken(t.dir, name, scopes, lifetime)
	if err == nil {
		err = t.Reload()
	}
	return token, text, err
}

// CreateToken is Tokens.Create for a program that serves nothing.
func CreateToken(dir, name string, scopes []Scope, lifetime time.Duration) (Token, string, error) {
	if len(scopes) == 0 {
		return Token{}, "", errors.New("a token without scopes allows nothing, expected one such as read:**")
	}
	for _, scope := range scopes {
		if err := scope.check(); err != nil {
			return Token{}, "", err
		}
	}
	if lifetime < 0 {
		return Token{}, "", fmt.Errorf("a lifetime of %v, expected 0 or more", lifetime)
	}
	var random [6 + 32]byte
	_, _ = rand.Read(random[:]) // cannot fail
	id := hex.EncodeToString(random[:6])
	text := tokenPrefix + id + "_" + hex.EncodeToString(random[6:])
	hash := sha256.Sum256([]byte(text))
	file := tokenFile{
		Token: Token{ID: id, Name: name, Scopes: scopes, Created: time.Now().UTC().Round(0)},
		Hash:  hex.EncodeToString(hash[:]),
	}
	if lifetime > 0 {
		file.Expires = file.Created.Add(lifetime)
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err == nil {
		err = writeWhole(dir, id+tokenSuffix, append(data, '\n'))
	}
	if err != nil {
		return Token{}, "", fmt.Errorf("token: %w", err)
	}
	return file.Token, text, nil
}

// writeWhole writes a file, completely or not at all, readable only by its owner.
func writeWhole(dir, name string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// ErrNoToken is returned for a token that does not exist.
var ErrNoToken = errors.New("there is no such token")

// RevokeToken revokes a token. A server that follows the directory closes its streams within a second.
func RevokeToken(dir, id string) error {
	if _, err := hex.DecodeString(id); err != nil || id == "" {
		return fmt.Errorf("token %q: %w, expected an ID of twelve hexadecimal digits", clip(id), ErrNoToken)
	}
	err := os.Remove(filepath.Join(dir, id+tokenSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("token %q: %w", id, ErrNoToken)
	}
	return err
}

// Revoke is RevokeToken with immediate effect.
func (t *Tokens) Revoke(id string) error {
	if err := RevokeToken(t.dir, id); err != nil {
		return err
	}
	return t.Reload()
}

// ListTokens returns the tokens in a directory by creation time, including expired ones; none if there is no
// directory.
func ListTokens(dir string) ([]Token, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	var tokens []Token
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), tokenSuffix) {
			continue
		}
		file, err := readToken(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tokens: %w", err)
		}
		tokens = append(tokens, file.Token)
	}
	slices.SortFunc(tokens, func(a, b Token) int { return a.Created.Compare(b.Created) })
	return tokens, nil
}

var (
	errNoToken      = errors.New("no token, expected the header \"Authorization: Bearer TOKEN\"")
	errInvalidToken = errors.New("the token is invalid; it is unknown, revoked or expired")
)

// Authenticate returns the token of a request. Its error says only whether there was one.
func (t *Tokens) Authenticate(r *http.Request) (identity any, err error) {
	text := bearer(r)
	if text == "" {
		return nil, errNoToken
	}
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	id, _, found := strings.Cut(rest, "_")
	if !ok || !found {
		return nil, errInvalidToken
	}
	token := (*t.known.Load())[id]
	hash := sha256.Sum256([]byte(text))
	if token == nil || token.expired(time.Now()) {
		return nil, errInvalidToken
	}
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(hash[:])), []byte(token.Hash)) != 1 {
		return nil, errInvalidToken
	}
	return token, nil
}

// Authorize reports whether a token from Authenticate allows a verb on a path or pattern.
func (t *Tokens) Authorize(identity any, verb Verb, pattern string) error {
	token, ok := identity.(*held)
	if ok && !token.expired(time.Now()) && token.allows(verb, pattern) {
		return nil
	}
	return fmt.Errorf("the token does not allow %s of %q", verb, clip(pattern))
}

func (h *held) allows(verb Verb, pattern string) bool {
	return slices.ContainsFunc(h.Scopes, func(scope Scope) bool {
		return slices.Contains(scope.Verbs, verb) && covers(scope.Pattern, pattern)
	})
}
