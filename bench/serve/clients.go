package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// Clients that cost as little as possible: their processor time is taken from the server.

// dial connects, and sends a request.
func dial(address, request string) (net.Conn, error) {
	var conn net.Conn
	err := error(nil)
	for attempt := range 20 { // a queue of the kernel may be full for a moment
		if conn, err = net.DialTimeout("tcp", address, 10*time.Second); err == nil {
			break
		}
		time.Sleep(time.Duration(attempt) * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

const handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func upgrade(target, more string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + handshake + more + "\r\n"
}

func subscribe(pattern, token string) string {
	text := fmt.Sprintf(`{"type":"subscribe","id":1,"pattern":%q,"token":%q}`, pattern, token)
	return string(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text)))))
}

func get(target, more string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more + "\r\n"
}

func put(target, body string) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
}

// readUntil reads until a text appears, and returns the input from it on.
func readUntil(r io.Reader, text string, buffer []byte) ([]byte, error) {
	have := 0
	for {
		n, err := r.Read(buffer[have:])
		if err != nil {
			return nil, fmt.Errorf("behind %.200q: %w", buffer[:have], err)
		}
		have += n
		if at := bytes.Index(buffer[:have], []byte(text)); at >= 0 {
			return buffer[at:have], nil
		}
		if have > len(buffer)/2 { // the text may span both halves
			copy(buffer, buffer[have-len(text):have])
			have = len(text)
		}
	}
}

// many makes n connections, several at a time. Each has read until a text when many returns.
func many(n int, address string, request func(i int) string, text string) ([]net.Conn, error) {
	conns, errs := make([]net.Conn, n), make([]error, n)
	var all sync.WaitGroup
	const workers = 32
	for w := range workers {
		all.Go(func() {
			buffer := make([]byte, 256<<10)
			for i := w; i < n; i += workers {
				if conns[i], errs[i] = dial(address, request(i)); errs[i] == nil {
					_, errs[i] = readUntil(conns[i], text, buffer)
				}
				if errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return conns, errors.Join(errs...)
}

func closeAll(conns []net.Conn) {
	for _, conn := range conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// requester sends one request after the other over one connection.
type requester struct {
	conn net.Conn
	r    *bufio.Reader
}

func newRequester(address string) (*requester, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &requester{conn, bufio.NewReader(conn)}, nil
}

// do sends a request, and reads the answer, which has a length.
func (r *requester) do(request string) error {
	if _, err := io.WriteString(r.conn, request); err != nil {
		return err
	}
	// The head fits into the buffer and is parsed there: the cost of a client is taken from the server.
	for want := 1; ; {
		if _, err := r.r.Peek(want); err != nil {
			return err
		}
		head, err := r.r.Peek(r.r.Buffered())
		if err != nil {
			return err
		}
		end := bytes.Index(head, []byte("\r\n\r\n"))
		if end < 0 {
			want = len(head) + 1
			continue
		}
		if head = head[:end+2]; !bytes.HasPrefix(head, []byte("HTTP/1.1 20")) {
			return fmt.Errorf("the answer is %q", head)
		}
		_, value, found := bytes.Cut(head, []byte("\r\nContent-Length: "))
		value, _, _ = bytes.Cut(value, []byte("\r\n"))
		length, err := strconv.Atoi(string(value))
		if !found || err != nil {
			return fmt.Errorf("the answer has no length: %q", head)
		}
		_, err = r.r.Discard(end + 4 + length)
		return err
	}
}

// rate returns how many calls a second the callers make together.
func rate(callers int, d time.Duration, call func(caller, n int) error) (float64, error) {
	counts, errs := make([]int, callers), make([]error, callers)
	var all sync.WaitGroup
	began := time.Now()
	for i := range callers {
		all.Go(func() {
			for time.Since(began) < d {
				if errs[i] = call(i, counts[i]); errs[i] != nil {
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds(), errors.Join(errs...)
}

// figureOf reads a figure of Oolith's metrics.
func figureOf(address, name string) (float64, error) {
	resp, err := http.Get("http://" + address + "/~/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no figure %s", name)
}

func median[T float64 | time.Duration](values []T) T { return quantile(values, 0.5) }

func quantile[T float64 | time.Duration](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
