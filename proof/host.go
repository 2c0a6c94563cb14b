package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/oolith-db/oolith/server"
)

// host is a server in its own process, which can be ended or killed and restarted, on one store and one address.
type host struct {
	url     string // of the store
	address string // of the server, once it was started

	victim *exec.Cmd
	input  io.Closer
	errs   *strings.Builder
}

// start starts the process, and returns once it serves.
func (h *host) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	address := h.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	h.victim, h.errs = exec.Command(self, "serve", h.url, address), &strings.Builder{}
	h.victim.Env, h.victim.Stderr = append(os.Environ(), proveChild+"=1"), h.errs
	if h.input, err = h.victim.StdinPipe(); err != nil {
		return err
	}
	out, err := h.victim.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.victim.Start(); err != nil {
		return err
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		h.kill()
		return fmt.Errorf("the server does not start: %w: %s", err, h.errs)
	}
	h.address = strings.TrimSpace(said)
	return nil
}

// kill ends the process with SIGKILL.
func (h *host) kill() {
	_ = h.victim.Process.Kill()
	_ = h.victim.Wait() // it was killed
	_ = h.input.Close()
}

// end ends the process with SIGTERM.
func (h *host) end() error {
	_ = h.input.Close()
	stuck := time.AfterFunc(time.Minute, func() { _ = h.victim.Process.Kill() })
	defer stuck.Stop()
	if err := h.victim.Wait(); err != nil {
		return fmt.Errorf("the server does not end well: %w: %s", err, h.errs)
	}
	return nil
}

// serveChild is the main function of the process: it serves until its standard input ends.
func serveChild(url, address string) error {
	store, err := openURL(url)
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if _, err := fmt.Println(listener.Addr()); err != nil {
		return err
	}
	handler := server.New(store, server.Options{Logger: slog.New(slog.DiscardHandler)})
	return handler.Serve(ctx, narrow{listener})
}

// narrow is a listener whose connections have small buffers in the kernel, so a slow client blocks early.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("the connection is none of TCP")
	}
	if err := tcp.SetWriteBuffer(32 << 10); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
