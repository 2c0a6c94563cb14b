//go:build linux

package live

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// rawClient is a client that costs the process no memory but the kernel's.
func rawClient(t testing.TB, port int, request string) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		_, err = syscall.Write(fd, []byte(request))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	return fd
}

// answered waits for some text in what a raw client reads.
func answered(t testing.TB, fd int, text string) {
	t.Helper()
	var got []byte
	buffer := make([]byte, 64<<10)
	for !bytes.Contains(got[max(0, len(got)-1000):], []byte(text)) {
		n, err := syscall.Read(fd, buffer)
		if err != nil || n == 0 {
			t.Fatalf("%d %v behind %q", n, err, got)
		}
		got = append(got, buffer[:n]...)
	}
}

// An idle subscriber costs at most 10 KB of memory, and one of events at most 12 KB.
func TestIdleMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has memory of its own")
	}
	for _, c := range []struct {
		name, target, header, first string
		most                        int
	}{
		{"wire", "/a/*", handshake, `"data":[]}`, 10 << 10},
		{"clock", "/", handshake, "\r\n\r\n", 10 << 10},
		{"oolith.v1", "/~/live", handshake + "Sec-WebSocket-Protocol: oolith.v1\r\n", `"welcome"`, 10 << 10},
		{"sse", "/a/*", "Accept: text/event-stream\r\n", `"live"`, 12 << 10},
	} {
		f := newFixture(t, Options{})
		f.replica("/a/*")
		_, digits, _ := strings.Cut(strings.TrimPrefix(f.server.URL, "http://"), ":")
		port, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(err)
		}
		const n = 1000
		clients := make([]int, 0, n)
		before, rss, goroutines := inUse(), resident(t), runtime.NumGoroutine()
		for range n {
			clients = append(clients, rawClient(t, port, "GET "+c.target+" HTTP/1.1\r\nHost: x\r\n"+c.header+"\r\n"))
			answered(t, clients[len(clients)-1], c.first)
		}
		f.until("writers stay", func() bool { return runtime.NumGoroutine() < goroutines+n+100 })
		each := (inUse() - before) / n
		t.Logf("%s: %d bytes of heap and stacks, %d of resident memory", c.name, each, (resident(t)-rss)/n)
		if each > c.most {
			t.Errorf("%s: an idle connection costs %d bytes, want at most %d", c.name, each, c.most)
		}
	}
}

func inUse() int {
	debug.FreeOSMemory() // collects, twice: pools let go of what they hold
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

func resident(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkWriteToSubscribers is one write to a list of 1,000 until all its subscribers have the message.
func BenchmarkWriteToSubscribers(b *testing.B) {
	for _, subscribers := range []int{1, 1000} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			f := newFixture(b, Options{})
			for i := range 1000 {
				f.set(fmt.Sprintf("a/%d", i), `{"name":"something of a usual size","n":1}`)
			}
			f.replica("/a/*")
			_, digits, _ := strings.Cut(strings.TrimPrefix(f.server.URL, "http://"), ":")
			port, err := strconv.Atoi(digits)
			if err != nil {
				b.Fatal(err)
			}
			clients := make([]int, subscribers)
			for i := range clients {
				clients[i] = rawClient(b, port, "GET /a/* HTTP/1.1\r\nHost: x\r\n"+handshake+"\r\n")
				answered(b, clients[i], `"index":"0","path":"a/0","data":{"name":"something of a usual size","n":1}}]}`)
			}
			encoded := f.live.Stats().Encoded
			buffer := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				f.set("a/500", `{"name":"something of a usual size","n":2}`)
				for _, fd := range clients {
					for have := 0; !bytes.HasSuffix(buffer[:have], []byte(`"n":2}}}]}`)); { // a ping may come before
						n, err := syscall.Read(fd, buffer[have:])
						if err != nil || n == 0 {
							b.Fatalf("%d %v behind %q", n, err, buffer[:have])
						}
						have += n
					}
				}
			}
			b.ReportMetric(float64(f.live.Stats().Encoded-encoded)/float64(b.N), "encodes/op")
		})
	}
}
