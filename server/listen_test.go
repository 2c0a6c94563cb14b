package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// listening serves a store by Serve. It returns its address, and what ends it and returns its error.
func listening(t *testing.T, opt server.Options, config *tls.Config) (*server.Server, string, func() error) {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	opt.Logger = slog.New(slog.DiscardHandler)
	s := server.New(store, opt)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		if config != nil {
			ended <- s.ServeTLS(ctx, listener, config)
			return
		}
		ended <- s.Serve(ctx, listener)
	}()
	end := func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { _ = end() })
	return s, address, end
}

// Writes that are under way are answered when the server ends, and new connections are refused.
func TestServeEndsWell(t *testing.T) {
	begun, goOn := make(chan bool), make(chan bool)
	s, address, end := listening(t, server.Options{BeforeWrite: func(any, *server.Change) error {
		begun <- true
		<-goOn
		return nil
	}}, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	answered := make(chan string, 1)
	go func() {
		resp, err := client.Post("http://"+address+"/a", "", strings.NewReader("1"))
		if err != nil {
			answered <- err.Error()
			return
		}
		_ = resp.Body.Close()
		answered <- resp.Status
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	// It ends: it says so, and takes no more connections.
	admin := fixtureOf(t, s.Admin())
	for admin.do("GET", "/~/readyz", "").status != 503 {
		time.Sleep(time.Millisecond) // it polls
	}
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	goOn <- true
	if got := <-answered; got != "200 OK" {
		t.Errorf("a write that was under way: %s", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.Close()
}

func TestConnections(t *testing.T) {
	_, address, _ := listening(t, server.Options{Limits: server.Limits{Connections: 2}}, nil)
	ask := func(conn net.Conn) (int, string) {
		if _, err := io.WriteString(conn, "GET /* HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	first, second, third := dial(), dial(), dial()
	for _, conn := range []net.Conn{first, second, first} {
		if status, body := ask(conn); status != 200 {
			t.Errorf("within the limit: %d %s", status, body)
		}
	}
	if status, body := ask(third); status != 429 || !strings.Contains(body, "the limit Connections") {
		t.Errorf("beyond the limit: %d %s", status, body)
	}
	if n, err := third.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection beyond the limit stays open: %d, %v", n, err)
	}
	_ = first.Close()
	for {
		conn := dial()
		status, _ := ask(conn)
		_ = conn.Close()
		if status == 200 {
			break
		}
	}
}

// certificate writes a certificate with a name, signed by a parent or by itself, and returns it.
func certificate(t *testing.T, dir, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	for file, data := range map[string][]byte{name + ".pem": certPEM, name + ".key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority := certificate(t, dir, "authority", nil)
	certificate(t, dir, "server", &authority)
	stranger := certificate(t, dir, "stranger", nil)
	files := server.TLSFiles{
		Certificate: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key"), ClientCA: filepath.Join(dir, "authority.pem"),
	}
	var log logged
	config, err := files.Config(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := listening(t, server.Options{}, config)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	// ask returns the serial number of the server's certificate.
	ask := func(certificates ...tls.Certificate) (string, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + address + "/*")
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
			t.Errorf("over TLS: %s, %s", resp.Status, resp.Proto)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.String(), nil
	}
	client := certificate(t, dir, "client", &authority)
	first, err := ask(client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil {
		t.Error("a client without a certificate is let in")
	}
	if _, err := ask(stranger); err == nil {
		t.Error("a client with a certificate of somebody else is let in")
	}
	// A broken file changes nothing; a new certificate is taken.
	if err := os.WriteFile(files.Certificate, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(log.String(), "the previous one stays") {
		if got, err := ask(client); err != nil || got != first {
			t.Fatalf("with a broken file: %s, %v", got, err)
		}
	}
	certificate(t, dir, "server", &authority)
	for got := first; got == first; {
		if got, err = ask(client); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []server.TLSFiles{
		{Certificate: filepath.Join(dir, "nope"), Key: files.Key},
		{Certificate: files.Certificate, Key: filepath.Join(dir, "client.key")},
		{Certificate: files.Certificate, Key: files.Key, ClientCA: files.Key},
	} {
		if _, err := bad.Config(nil); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// A negative limit is no limit.
func TestNoLimits(t *testing.T) {
	_, address, _ := listening(t, server.Options{Limits: server.Limits{
		Body: -1, Decompressed: -1, Depth: -1, BodyStall: -1, BodyTime: -1, AnswerTime: -1, HeaderBytes: -1, HeaderTime: -1, IdleTime: -1,
		Connections: -1, Streams: -1, Rate: -1, Burst: -1, ListObjects: -1, ListBytes: -1, BatchChanges: -1,
	}}, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	f := &fixture{t: t, url: "http://" + address, client: &http.Client{Transport: transport}}
	f.do("PUT", "/a", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)).is(201, "*")
	f.do("PUT", "/a", strings.Repeat("[", 10001)+strings.Repeat("]", 10001)).isProblem(server.InvalidJSON, "")
	f.do("PUT", "/b", zipped(t, `"`+strings.Repeat("x", 20<<20)+`"`), "Content-Encoding: gzip").is(201, "*")
	f.do("GET", "/*", "").is(200, "*")
	f.do("GET", "/*?limit=1000000", "").is(200, "*")
	next, _, _ := f.events("/c")
	next()
	f.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"c","data":1}]}`).is(200, "*")
}
