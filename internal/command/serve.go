package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/examples"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

const (
	defaultAddr = "127.0.0.1:8800"
	// demoTemplate is the path of the sample of --demo.
	demoTemplate = "cities/{country}/*"
	tokensSuffix = ".tokens"
)

// serving is one run of serve.
type serving struct {
	*app
	addr, adminAddr   string
	demo              bool
	auth, insecure    bool
	insecureAdmin     bool
	tokens            string
	tls               server.TLSFiles
	auditFile, level  string
	maxStaleness      time.Duration
	options           server.Options
	storage           *storage.Layered
	listener, adminOn net.Listener
	// token is a token created by this run.
	token string
}

func (a *app) serveCommand() *cobra.Command {
	s := &serving{app: a}
	cmd := &cobra.Command{
		Use:        "serve",
		SuggestFor: []string{"server", "run", "start", "http", "listen"},
		Short:      "Serve the store over HTTP",
		Long: `Serve the store over HTTP, until Ctrl-C or SIGTERM. If the store does not exist, serve creates it.

Without --auth, every client that reaches the address may do everything. This is meant for the default address 127.0.0.1:8800, which only this machine reaches. An address that other
machines reach needs tokens (see "oolith token"), client certificates (--client-ca), or --insecure. A store with tokens always requires one.

On shutdown the server answers requests in progress, for at most 10 seconds. docs/server.md describes everything that the server offers.` + defaultAddr + `, which only this machine reaches. An address that others reach needs tokens
(see "oolith token"), client certificates (--client-ca), or --insecure. A store that has
tokens asks for one everywhere.

At the end, requests that are under way are answered: for 10 seconds at most. What the server
offers is in docs/server.md.`,
		Example: `  oolith serve --demo
  oolith serve --addr 0.0.0.0:8800 --auth --tls-cert cert.pem --tls-key key.pem
  oolith serve --store sqlite:./data.db --admin-addr 127.0.0.1:8801`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.addr, "addr", defaultAddr, "serve on this `HOST:PORT`; port 0 chooses a free one")
	flags.StringVar(&s.adminAddr, "admin-addr", "", "serve health, metrics and stats on this `HOST:PORT` instead of --addr")
	flags.BoolVar(&s.demo, "demo", false, "load 2,410 sample places into an empty store")
	flags.BoolVar(&s.auth, "auth", false, "require tokens; creates a first one for everything if there is none")
	flags.BoolVar(&s.insecure, "insecure", false, "allow access from other machines without authentication")
	flags.BoolVar(&s.insecureAdmin, "insecure-admin", false, "allow access from other machines to --admin-addr, without authentication")
	flags.StringVar(&s.tokens, "tokens", "", "the `DIRECTORY` of the tokens (default: beside the store)")
	flags.StringSliceVar(&s.options.Hosts, "host", nil, "also serve this host `NAME`; may be repeated")
	flags.StringSliceVar(&s.options.Origins, "origin", nil, "allow pages of this `ORIGIN`, such as https://app.example.com; may be repeated")
	flags.StringSliceVar(&s.options.RequireCondition, "require-if-match", nil, "require If-Match to change objects of this `PATTERN`; may be repeated")
	flags.StringVar(&s.tls.Certificate, "tls-cert", "", "serve TLS with the certificate in this `FILE`; it is reloaded when it changes")
	flags.StringVar(&s.tls.Key, "tls-key", "", "the `FILE` with the certificate's private key")
	flags.StringVar(&s.tls.ClientCA, "client-ca", "", "require client certificates signed by an authority in this `FILE`")
	flags.StringVar(&s.auditFile, "audit", "", "append an audit log of writes and rejections to this `FILE`, as JSON Lines")
	flags.StringVar(&s.level, "log-level", "info", "log to standard error from this level: debug, info, warn or error")
	flags.Int64Var(&s.options.Limits.Body, "max-body", 0, "maximum size of a body in `BYTES` (default 10485760)")
	flags.IntVar(&s.options.Limits.Connections, "max-connections", 0, "maximum number of connections (default 20000)")
	flags.DurationVar(&s.maxStaleness, "max-staleness", 0, "over a shared engine: reject reads if this node's data is older than this `TIME`, such as 10s; 0 for never")
	flags.Float64Var(&s.options.Limits.Rate, "rate", 0, "maximum number of requests per second and client (default 10000); -1 for no limit")
	return cmd
}

// run serves until the context ends.
func (s *serving) run(ctx context.Context) (err error) {
	logger, err := s.logger()
	if err != nil {
		return err
	}
	s.options.Logger = logger
	if err := s.options.Check(); err != nil {
		return usage(err)
	}
	config, err := s.tlsConfig()
	if err != nil {
		return err
	}
	if err := s.authentication(); err != nil {
		return err
	}
	if s.options.Tokens != nil {
		defer s.options.Tokens.Close()
	}
	audit, err := s.openAudit()
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, audit) }()
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.openServed(logger); err != nil {
		return joinErrors(err, s.closeListeners())
	}
	defer s.storage.Close()
	noted, noteErr := noteServed(location(s.storeURL), s.address())
	if noteErr != nil { // the directory beside the store may not be writable; the note is only a help
		logger.Warn("other programs cannot find the server of this store", "error", noteErr)
	} else {
		defer func() { err = joinClose(err, noted) }()
	}
	if s.demo {
		if err := s.loadSample(ctx); err != nil {
			return joinErrors(err, s.closeListeners())
		}
	}
	if err := s.greet(); err != nil {
		return joinErrors(err, s.closeListeners())
	}
	return s.serve(ctx, config)
}

func (s *serving) serve(ctx context.Context, config *tls.Config) error {
	s.options.SeparateAdmin = s.adminOn != nil
	s.options.StoreURL = s.storeURL
	handler := server.New(s.storage, s.options)
	defer handler.Close()
	serve := func(ctx context.Context) error {
		if config != nil {
			return handler.ServeTLS(ctx, s.listener, config)
		}
		return handler.Serve(ctx, s.listener)
	}
	if s.adminOn == nil {
		return serve(ctx)
	}
	// The first failure ends the other server.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	admin := make(chan error, 1)
	go func() {
		defer stop()
		admin <- handler.ServeAdmin(ctx, s.adminOn)
	}()
	err := serve(ctx)
	stop()
	return joinErrors(err, <-admin)
}

func (s *serving) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.level)); err != nil {
		return nil, usage(fmt.Errorf("--log-level %q: expected debug, info, warn or error", s.level))
	}
	options := &slog.HandlerOptions{Level: level}
	if s.json {
		return slog.New(slog.NewJSONHandler(s.stderr, options)), nil
	}
	return slog.New(slog.NewTextHandler(s.stderr, options)), nil
}

func (s *serving) tlsConfig() (*tls.Config, error) {
	switch {
	case s.tls.Certificate == "" && s.tls.Key == "" && s.tls.ClientCA == "":
		return nil, nil
	case s.tls.Certificate == "" || s.tls.Key == "":
		return nil, usage(errors.New("TLS needs both --tls-cert and --tls-key"))
	}
	return s.tls.Config(s.options.Logger)
}

// authentication opens the tokens if there are any or should be, and rejects an address that other machines can reach
// without authentication.
func (s *serving) authentication() error {
	host, _, err := net.SplitHostPort(s.addr)
	if err != nil {
		return usage(fmt.Errorf("--addr %q: expected HOST:PORT such as %s", s.addr, defaultAddr))
	}
	if s.adminAddr != "" && !s.insecureAdmin {
		host, _, err := net.SplitHostPort(s.adminAddr)
		if err != nil {
			return usage(fmt.Errorf("--admin-addr %q: expected HOST:PORT such as 127.0.0.1:8801", s.adminAddr))
		}
		if !isLocal(host) {
			return usage(fmt.Errorf("--admin-addr %s: other machines can reach this address without authentication; add --insecure-admin to allow that", s.adminAddr))
		}
	}
	dir, err := s.tokensDirectory(s.tokens)
	if err != nil && (s.auth || s.tokens != "") {
		return err
	}
	known, err := server.ListTokens(dir)
	if err != nil {
		return err
	}
	_, missing := os.Stat(dir)
	switch has := dir != "" && missing == nil; {
	case s.auth, has:
	case isLocal(host), s.insecure, s.tls.ClientCA != "":
		return nil
	default:
		return usage(fmt.Errorf("--addr %s: other machines can reach this address without authentication; add --auth to require tokens, --client-ca to require certificates, or --insecure to allow everybody everything", s.addr))
	}
	if s.insecure {
		return usage(errors.New("--insecure: the store has tokens or --auth requires them, expected --insecure or tokens"))
	}
	if len(known) == 0 && s.auth {
		everything := []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read, server.Write, server.Admin}}}
		if _, s.token, err = server.CreateToken(dir, "first", everything, 0); err != nil {
			return err
		}
	}
	s.options.Tokens, err = server.OpenTokens(dir, s.options.Logger)
	return err
}

// isLocal reports whether only this machine can reach a listening host.
func isLocal(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// tokensDirectory returns the directory of the tokens: the given one, or one beside the store.
func (a *app) tokensDirectory(said string) (string, error) {
	if said != "" {
		return said, nil
	}
	place := location(a.storeURL)
	if place == "" {
		return "", usage(fmt.Errorf("store %s: there is no directory for tokens beside it; set one with --tokens DIRECTORY", a.storeURL))
	}
	return place + tokensSuffix, nil
}

// openAudit opens the audit log if one is requested.
func (s *serving) openAudit() (io.Closer, error) {
	if s.auditFile == "" {
		return io.NopCloser(nil), nil
	}
	file, err := os.OpenFile(s.auditFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--audit: %w", err)
	}
	s.options.Audit = slog.New(slog.NewJSONHandler(file, nil))
	return file, nil
}

// listen opens the addresses before the store, so an address in use creates no store.
func (s *serving) listen(ctx context.Context) (err error) {
	var listening net.ListenConfig
	if s.listener, err = listening.Listen(ctx, "tcp", s.addr); err != nil {
		return fmt.Errorf("--addr %s: %w", s.addr, listenError(err))
	}
	if s.adminAddr != "" {
		if s.adminOn, err = listening.Listen(ctx, "tcp", s.adminAddr); err != nil {
			return joinErrors(fmt.Errorf("--admin-addr %s: %w", s.adminAddr, listenError(err)), s.closeListeners())
		}
	}
	return nil
}

// closeListeners closes the listeners if they are not served.
func (s *serving) closeListeners() error {
	err := s.listener.Close()
	if s.adminOn != nil {
		err = joinClose(err, s.adminOn)
	}
	return err
}

// openServed opens the store with its objects in memory.
func (s *serving) openServed(logger *slog.Logger) error {
	layer, err := s.newLayer(s.storeURL, creates)
	if err != nil {
		return err
	}
	s.storage = storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	if err := s.storage.Start(storage.Options{Logger: logger, NoBroadcastKeys: []string{server.Reserved}, MaxStaleness: s.maxStaleness}); err != nil {
		return notOpened(s.storeURL, err)
	}
	s.tellSkipped(s.storeURL, layer)
	return nil
}

// loadSample imports the sample into an empty store.
func (s *serving) loadSample(ctx context.Context) error {
	if keys, err := s.storage.Keys(); err != nil || len(keys) > 0 {
		return err
	}
	template, err := parseTemplate(demoTemplate)
	if err != nil {
		return err
	}
	in := &input{Reader: bytes.NewReader(examples.Cities), name: "the sample", size: int64(len(examples.Cities)), stop: func() {}}
	im := &importer{app: s.app, make: fromTemplate(template), template: template, quiet: true, store: s.storage, in: in, started: time.Now()}
	if im.records, err = readRecords(in, maxRecord, format{}); err != nil {
		return err
	}
	im.report = startProgress(s.stderr, s.err, true, work{name: in.name, verb: "stored", size: in.size}, im.state)
	defer im.report.stop()
	return im.all(ctx)
}

// greeting is the output of serve with --json.
type greeting struct {
	URL      string `json:"url"`
	AdminURL string `json:"adminUrl,omitempty"`
	Store    string `json:"store"`
	Token    string `json:"token,omitempty"`
}

// greet prints the address of the server and an example.
func (s *serving) greet() error {
	told := greeting{URL: s.address(), Store: s.storeURL, Token: s.token}
	if s.adminOn != nil {
		told.AdminURL = "http://" + reachable(s.adminOn.Addr())
	}
	if s.json {
		return joinErrors(writeJSON(s.stdout, told), s.stdout.Flush())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "serving %s on %s\n", s.storeURL, told.URL)
	if told.AdminURL != "" {
		fmt.Fprintf(&b, "health and metrics: %s/~/readyz and /~/metrics\n", told.AdminURL)
	}
	header := ""
	if s.options.Tokens != nil {
		header = "-H 'Authorization: Bearer TOKEN' "
	}
	if s.token != "" {
		fmt.Fprintf(&b, "the first token, for everything, shown only once: %s\n", s.token)
		header = strings.Replace(header, "TOKEN", s.token, 1)
	}
	path := "/hello --json '{\"name\":\"world\"}'"
	if n, err := s.storage.Count("cities/PT/*"); err == nil && n > 0 {
		path = "'/cities/PT/*?limit=3'"
	}
	if query, quoted := strings.CutPrefix(path, "'"); quoted {
		fmt.Fprintf(&b, "\nTry: curl %s'%s%s\n", header, told.URL, query)
	} else {
		fmt.Fprintf(&b, "\nTry: curl %s%s%s\n", header, told.URL, path)
	}
	b.WriteString("Press Ctrl-C to stop.\n")
	_, err := s.stdout.WriteString(b.String())
	return joinErrors(err, s.stdout.Flush())
}

// address is the server's address for clients on this machine.
func (s *serving) address() string {
	scheme := "http"
	if s.tls.Certificate != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(s.listener.Addr())
}

// reachable returns an address that clients on this machine can use.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
