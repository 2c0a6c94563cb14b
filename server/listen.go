package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// drainTime is how long a stopping server may finish its work.
const drainTime = 10 * time.Second

// Serve serves a listener until the context ends, within all limits, and closes it. Then it shuts down gracefully:
// readyz reports it, requests in progress are answered, streams are closed, and after at most 10 seconds the
// remaining connections are cut. Serve returns nil after that, or the error of the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	return s.serveOn(ctx, listener, nil, s)
}

// ServeTLS is Serve over TLS: HTTP/2 and HTTP/1.1.
func (s *Server) ServeTLS(ctx context.Context, listener net.Listener, config *tls.Config) error {
	return s.serveOn(ctx, listener, config, s)
}

// ServeAdmin is Serve for the handler of Admin.
func (s *Server) ServeAdmin(ctx context.Context, listener net.Listener) error {
	return s.serveOn(ctx, listener, nil, s.Admin())
}

func (s *Server) serveOn(ctx context.Context, listener net.Listener, config *tls.Config, handler http.Handler) error {
	listener = &countingListener{Listener: listener, connections: &s.figures.connections}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: s.limits.HeaderTime, IdleTimeout: s.limits.IdleTime,
		MaxHeaderBytes: s.limits.HeaderBytes, ConnContext: s.figures.connections.enter, Protocols: protocols,
		// These are failed handshakes and connections of clients.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("server: %w", err)
	case <-ctx.Done():
	}
	s.closing.Store(true)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	streams := make(chan struct{})
	go func() {
		defer close(streams)
		s.Close()
	}()
	err := srv.Shutdown(limit)
	select {
	case <-streams:
	case <-limit.Done():
	}
	if err != nil {
		s.log.Warn("connections were closed before they finished", "after", drainTime)
		err = srv.Close()
	}
	<-ended
	return err
}

// countingListener counts open connections. Far beyond the limit it closes new ones immediately, because an answer
// costs more than an idle client.
type countingListener struct {
	net.Listener
	connections *connections
}

func (l *countingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.connections.open.Add(1)/2 > l.connections.most {
			l.connections.open.Add(-1)
			_ = conn.Close() // the client gets nothing more
			continue
		}
		return &countedConn{Conn: conn, left: sync.OnceFunc(func() { l.connections.open.Add(-1) })}, nil
	}
}

type countedConn struct {
	net.Conn
	left func()
}

func (c *countedConn) Close() error {
	c.left()
	return c.Conn.Close()
}

// TLSFiles are the files for TLS.
type TLSFiles struct {
	// Certificate and Key are PEM files: the certificate with its intermediates, and its private key.
	Certificate, Key string
	// ClientCA is a PEM file with certificates. If it is set, clients need a certificate signed by one of them.
	ClientCA string
}

// tlsPoll is the interval at which the files are checked.
const tlsPoll = time.Second

// Config reads the files and returns a configuration that follows them: a renewed certificate applies to the next
// connection. If reading fails later, the previous certificate stays, and the logger, slog.Default() if nil, gets the
// error.
func (f TLSFiles) Config(logger *slog.Logger) (*tls.Config, error) {
	if logger == nil {
		logger = slog.Default()
	}
	loaded := &certificates{files: f, logger: logger}
	if err := loaded.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return loaded.current(), nil },
	}, nil
}

// certificates are the last valid content of the files.
type certificates struct {
	files  TLSFiles
	logger *slog.Logger

	mu     sync.Mutex // guards the fields below; held while the files are read
	config *tls.Config
	looked time.Time
	state  string // of the files when they were read
}

func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < tlsPoll {
		return c.config
	}
	c.looked = time.Now()
	if state := c.stat(); state != c.state {
		if err := c.loadLocked(); err != nil {
			c.logger.Error("the new certificate cannot be read; the previous one stays in use", "error", err)
			c.state = state // log once for each change
		}
	}
	return c.config
}

func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

// stat returns a text that changes when the files change.
func (c *certificates) stat() (state string) {
	for _, name := range []string{c.files.Certificate, c.files.Key, c.files.ClientCA} {
		info, err := os.Stat(name)
		if err != nil {
			state += name + "?"
			continue
		}
		state += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), " ")
	}
	return state
}

func (c *certificates) loadLocked() error {
	state := c.stat()
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if c.files.ClientCA != "" {
		pem, err := os.ReadFile(c.files.ClientCA)
		if err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("TLS: %s: %w", c.files.ClientCA, errors.New("there is no certificate in it"))
		}
	}
	c.config, c.looked, c.state = config, time.Now(), state
	return nil
}
