package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A store behind a server, chosen by --store http://HOST:PORT.

const (
	tokenVariable = "OOLITH_TOKEN"
	tokenForms    = "TEXT or @FILE"
	// remoteRetries is how often a request without an answer is sent again.
	remoteRetries = 4
)

// isServer reports whether a store's URL is the address of a server.
func isServer(storeURL string) bool {
	return strings.HasPrefix(storeURL, "http://") || strings.HasPrefix(storeURL, "https://")
}

// addRemote adds the flags for a store behind a server.
func (a *app) addRemote(root *cobra.Command) {
	root.PersistentFlags().StringVar(&a.token, "token", "", "the token for a server, or `@FILE` with the token (default: the variable "+tokenVariable+")")
	root.PersistentFlags().StringVar(&a.authorities, "tls-ca", "", "also trust the certificates in this `FILE` for a server with https")
}

// connect creates a client for the server at an address.
func (a *app) connect(address string) (*client.Client, error) {
	token, err := a.readToken()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if a.authorities != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pem, err := os.ReadFile(a.authorities)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usage(fmt.Errorf("--tls-ca %s: there is no certificate in it, expected PEM", a.authorities))
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c, err := client.New(address, client.Options{Token: token, HTTP: &http.Client{Transport: transport}, Retries: remoteRetries})
	if err != nil {
		return nil, usage(fmt.Errorf("store %s: expected the address of a server such as http://127.0.0.1:8800", address))
	}
	return c, nil
}

// readToken returns the given token; empty for none.
func (a *app) readToken() (string, error) {
	token := a.token
	if token == "" {
		token = a.getenv(tokenVariable)
	}
	if file, isFile := strings.CutPrefix(token, "@"); isFile {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("--token: %w", err)
		}
		token = strings.TrimSpace(string(text))
		if token == "" {
			return "", usage(fmt.Errorf("--token: the file %s is empty, expected a token", file))
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usage(errors.New("--token: it contains a character that tokens never have, expected " + tokenForms))
	}
	return token, nil
}

// remote is a store behind a server. It marks writes without an answer, whose outcome is unknown.
type remote struct {
	*client.Store
	readOnly bool
}

// openRemote returns the store behind the named server. It sends nothing.
func (a *app) openRemote(ctx context.Context) (remote, error) {
	c, err := a.connect(a.storeURL)
	if err != nil {
		return remote{}, err
	}
	return remote{c.Store(ctx), a.readOnly}, nil
}

// Close implements opened. The connections stay open for the life of the process.
func (remote) Close() {}

// errUnanswered is the error of a write that the server did not answer.
var errUnanswered = errors.New("the server did not answer")

// unanswered marks an error that is not an answer of the server.
func unanswered(err error) error {
	if _, answered := errors.AsType[*client.Error](err); err == nil || answered || isAny(err, usageErrors) || errors.Is(err, storage.ErrConflict) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnanswered, err)
}

// writes rejects a write with --read-only.
func (r remote) writes() error {
	if r.readOnly {
		return fmt.Errorf("--read-only: %w", storage.ErrReadOnly)
	}
	return nil
}

func (r remote) SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	if err := r.writes(); err != nil {
		return meta.Object{}, err
	}
	obj, err := r.Store.SetWith(path, data, opt)
	return obj, unanswered(err)
}

func (r remote) PushWith(pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	if err := r.writes(); err != nil {
		return meta.Object{}, err
	}
	return r.Store.PushWith(pattern, data, opt)
}

func (r remote) TouchWith(path string, opt storage.SetOptions) (meta.Object, error) {
	if err := r.writes(); err != nil {
		return meta.Object{}, err
	}
	return r.Store.TouchWith(path, opt)
}

func (r remote) Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	if err := r.writes(); err != nil {
		return meta.Object{}, err
	}
	return r.Store.Update(path, change)
}

func (r remote) Del(path string) error {
	if err := r.writes(); err != nil {
		return err
	}
	return r.Store.Del(path)
}

func (r remote) DelWith(path string, opt storage.DelOptions) error {
	if err := r.writes(); err != nil {
		return err
	}
	return r.Store.DelWith(path, opt)
}

func (r remote) Commit(batch *storage.Batch) ([]meta.Object, error) {
	if err := r.writes(); err != nil {
		return nil, err
	}
	objects, err := r.Store.Commit(batch)
	return objects, unanswered(err)
}

// onlyFiles is the error of a command that needs the files of a store but got a server.
func (a *app) onlyFiles(storeURL string) error {
	advice := map[string]string{
		"check":   "run it on the store's path when no server uses it; GET /~/readyz shows the health of a server",
		"compact": "run it on the store's path when no server uses it",
		"backup":  "copy it into files first, with " + a.program + " copy " + shellQuote(storeURL) + " pebble:./copy",
		"restore": "restore into files and serve those",
		"serve":   "expected the files to serve",
	}[a.command]
	if advice == "" {
		advice = "expected the files of a store"
	}
	return usage(fmt.Errorf("%s works on the files of a store, but %s is a server; %s", a.command, storeURL, advice))
}
