package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/server"
)

// The servers, each in its own process, which runs this program again.

// hostKind is the environment variable that makes this program a server.
const hostKind = "OOLITH_BENCH_HOST"

// host is a server's process.
type host struct {
	address string
	process *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// startHost starts a server of a kind, with its own directory.
func startHost(c config, kind string) (*host, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.dir, kind+"-")
	if err != nil {
		return nil, err
	}
	h := &host{process: exec.Command(self, dir)}
	h.process.Env, h.process.Stderr = append(os.Environ(), hostKind+"="+kind), os.Stderr
	output, err := h.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if h.input, err = h.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := h.process.Start(); err != nil {
		return nil, err
	}
	h.output = bufio.NewReader(output)
	if h.address, err = h.output.ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not start: %w", kind, err), h.process.Wait())
	}
	h.address = strings.TrimSpace(h.address)
	return h, nil
}

// stop ends the process. Its files are removed with the run's directory.
func (h *host) stop() {
	_ = h.input.Close()
	_ = h.process.Process.Kill()
	_ = h.process.Wait() // it was killed
}

// memory returns the resident memory of the process in bytes, after a collection or, with garbage, without one.
func (h *host) memory(garbage bool) (int, error) {
	ask := "collected\n"
	if garbage {
		ask = "now\n"
	}
	if _, err := io.WriteString(h.input, ask); err != nil {
		return 0, err
	}
	line, err := h.output.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// serveHost is the main function of the process: it prints its address, and then its memory for each line that it
// reads.
func serveHost(kind, dir string) error {
	serve := map[string]func(dir string) (string, error){
		"oolith": serveOolith("memory:"), "oolith durable": serveOolith("pebble:" + filepath.Join(dir, "store")),
		"bare": serveBare, "nats": serveNATS(false), "nats durable": serveNATS(true), "etcd": serveEtcd,
	}[kind]
	if serve == nil {
		return errors.New("unknown kind")
	}
	address, err := serve(dir)
	if err != nil {
		return err
	}
	if _, err := fmt.Println(address); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "collected" {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // pools release what they hold
		}
		pages, err := residentPages()
		if err != nil {
			return err
		}
		if _, err := fmt.Println(pages * os.Getpagesize()); err != nil {
			return err
		}
	}
	return nil
}

func residentPages() (int, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("the memory of a process is measured on Linux only: %w", err)
	}
	return strconv.Atoi(strings.Fields(string(text))[1])
}

func serveOolith(url string) func(string) (string, error) {
	return func(string) (string, error) {
		store, err := oolith.Open(url, pebble.Engine)
		if err != nil {
			return "", err
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		handler := server.New(store, server.Options{Logger: slog.New(slog.DiscardHandler), Limits: server.Limits{Streams: 30_000, Connections: 30_000}})
		go func() {
			if err := handler.Serve(context.Background(), listener); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
		return listener.Addr().String(), nil
	}
}

// bare is a server with the minimal work: it reads bodies, says hello, and forwards each posted message to all
// WebSockets.
type bare struct {
	mu    sync.Mutex
	conns []net.Conn
}

// hello is as long as the object that Oolith serves.
var hello = []byte(strings.Repeat("hello ", 30))

func serveBare(string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	b := &bare{}
	go func() { fmt.Fprintln(os.Stderr, http.Serve(listener, b)) }()
	return listener.Addr().String(), nil
}

func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") != "":
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.conns = append(b.conns, conn)
		_ = ws.WriteFrame(conn, ws.NewTextFrame([]byte("{}"))) // its next frame reports a failure
	case r.Method == http.MethodPut || r.Method == http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.URL.Path == "/cast" {
			b.cast(body)
		}
		_, _ = w.Write([]byte("{}")) // the client is gone
	default:
		_, _ = w.Write(hello)
	}
}

func (b *bare) cast(message []byte) {
	frame := ws.MustCompileFrame(ws.NewTextFrame(message))
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.conns {
		_, _ = conn.Write(frame)
	}
}
