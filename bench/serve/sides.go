package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// side is one server with the operations that all servers have: follow a list of objects, and write one of its
// objects.
type side struct {
	*host
	// write writes an object of the list that contains a number. Several callers may write at the same time.
	write func(caller int, mark int64) error
	// follow makes followers of the list, which report the numbers that they see.
	follow func(n int, saw func(follower int, mark int64)) (stop func(), err error)
	// put stores an object of the list. Up to the number of callers, several calls may run at the same time.
	put func(i int, text string) error
	// overwrite stores the one object of another list; only for Oolith. Several callers may call it at the same time.
	overwrite func(caller int, text string) error
	close     func()
}

// callers is how many callers may write at the same time.
const callers = 64

// listed is the number of objects in the list.
const listed = 1000

func value(mark int64) string {
	return fmt.Sprintf(`{"name":"something of a usual size","tags":["red","blue"],"mark":%d}`, mark)
}

// newSide starts a server and, unless it is the bare one, fills its list.
func newSide(c config, kind string) (*side, error) {
	h, err := startHost(c, kind)
	if err != nil {
		return nil, err
	}
	s := &side{host: h, close: h.stop}
	switch kind {
	case "nats", "nats durable":
		err = s.nats()
	case "etcd":
		err = s.etcd()
	default:
		err = s.http(kind == "bare")
	}
	if err == nil && kind != "bare" {
		for i := 0; i < listed && err == nil; i++ {
			err = s.put(i, value(0))
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return s, nil
}

// http is for Oolith and the bare server.
func (s *side) http(bare bool) error {
	requesters := make([]*requester, callers)
	for i := range requesters {
		var err error
		if requesters[i], err = newRequester(s.address); err != nil {
			return err
		}
	}
	s.write = func(caller int, mark int64) error {
		if bare {
			return requesters[caller].do(put("/cast", value(mark)))
		}
		return requesters[caller].do(put("/a/500", value(mark)))
	}
	s.put = func(i int, text string) error { return requesters[i%callers].do(put(fmt.Sprint("/a/", i), text)) }
	s.overwrite = func(caller int, text string) error { return requesters[caller].do(put("/one/1", text)) }
	s.follow = func(n int, saw func(int, int64)) (func(), error) {
		first := `"mark":0}}]}`
		if bare {
			first = "{}"
		}
		conns, err := many(n, s.address, func(int) string { return upgrade("/a/*", "") }, first)
		for i, conn := range conns {
			if err == nil {
				go readMarks(conn, func(mark int64) { saw(i, mark) })
			}
		}
		return func() { closeAll(conns) }, err
	}
	return nil
}

// readMarks reports the numbers in what a connection sends, until it ends.
func readMarks(conn net.Conn, saw func(int64)) {
	const name = `"mark":`
	buffer := make([]byte, 16<<10)
	have := 0
	for {
		n, err := conn.Read(buffer[have:])
		if err != nil {
			return
		}
		have += n
		from := 0
		for {
			at := bytes.Index(buffer[from:have], []byte(name))
			if at < 0 {
				from = max(from, have-len(name))
				break
			}
			digits := buffer[from+at+len(name) : have]
			end := bytes.IndexByte(digits, '}')
			if end < 0 {
				from += at
				break
			}
			if mark, err := strconv.ParseInt(string(digits[:end]), 10, 64); err == nil {
				saw(mark)
			}
			from += at + len(name) + end
		}
		have = copy(buffer, buffer[from:have])
	}
}

// markOf returns the number in an object.
func markOf(text []byte) int64 {
	_, digits, _ := bytes.Cut(text, []byte(`"mark":`))
	mark, err := strconv.ParseInt(string(bytes.TrimSuffix(digits, []byte("}"))), 10, 64)
	if err != nil {
		return -1
	}
	return mark
}

const setup = 2 * time.Minute

func (s *side) nats() error {
	ctx, cancel := context.WithTimeout(context.Background(), setup)
	defer cancel()
	open := func() (*nats.Conn, jetstream.JetStream, error) {
		nc, err := nats.Connect(s.address, nats.Timeout(10*time.Second))
		if err != nil {
			return nil, nil, err
		}
		js, err := jetstream.New(nc)
		return nc, js, err
	}
	nc, js, err := open()
	if err != nil {
		return err
	}
	stop := s.close
	s.close = func() { nc.Close(); stop() }
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		return err
	}
	set := func(key, text string) error {
		_, err := kv.Put(context.Background(), key, []byte(text))
		return err
	}
	s.write = func(_ int, mark int64) error { return set("a.500", value(mark)) }
	s.put = func(i int, text string) error { return set(fmt.Sprint("a.", i), text) }
	s.follow = func(n int, saw func(int, int64)) (func(), error) {
		var all []*nats.Conn
		stop := func() {
			for _, nc := range all {
				nc.Close()
			}
		}
		for i := range n {
			nc, js, err := open()
			if err != nil {
				return stop, err
			}
			all = append(all, nc)
			kv, err := js.KeyValue(context.Background(), "b")
			if err != nil {
				return stop, err
			}
			watch, err := kv.Watch(context.Background(), "a.*")
			if err != nil {
				return stop, err
			}
			for entry := range watch.Updates() {
				if entry == nil { // the state is complete
					break
				}
			}
			go func() {
				for entry := range watch.Updates() {
					if entry != nil {
						saw(i, markOf(entry.Value()))
					}
				}
			}()
		}
		return stop, nil
	}
	return nil
}

func (s *side) etcd() error {
	open := func() (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{Endpoints: []string{s.address}, DialTimeout: 10 * time.Second})
	}
	client, err := open()
	if err != nil {
		return err
	}
	stop := s.close
	s.close = func() { _ = client.Close(); stop() }
	set := func(key, text string) error {
		_, err := client.Put(context.Background(), key, text)
		return err
	}
	s.write = func(_ int, mark int64) error { return set("a/500", value(mark)) }
	s.put = func(i int, text string) error { return set(fmt.Sprint("a/", i), text) }
	s.follow = func(n int, saw func(int, int64)) (func(), error) {
		var all []*clientv3.Client
		stop := func() {
			for _, client := range all {
				_ = client.Close()
			}
		}
		for i := range n {
			client, err := open()
			if err != nil {
				return stop, err
			}
			all = append(all, client)
			// The state, and then the changes after it: etcd's clients keep a copy this way.
			state, err := client.Get(context.Background(), "a/", clientv3.WithPrefix())
			if err != nil {
				return stop, err
			}
			watch := client.Watch(context.Background(), "a/", clientv3.WithPrefix(), clientv3.WithRev(state.Header.Revision+1), clientv3.WithCreatedNotify())
			if created := <-watch; !created.Created {
				return stop, errors.New("the watch is not created")
			}
			go func() {
				for changes := range watch {
					for _, event := range changes.Events {
						saw(i, markOf(event.Kv.Value))
					}
				}
			}()
		}
		return stop, nil
	}
	return nil
}

// wave waits until all followers have seen a number.
type wave struct {
	mark, left atomic.Int64
	done       chan struct{}
}

func (w *wave) begin(mark int64, followers int) {
	w.done = make(chan struct{})
	w.left.Store(int64(followers))
	w.mark.Store(mark)
}

func (w *wave) saw(mark int64) {
	if mark == w.mark.Load() && w.left.Add(-1) == 0 {
		close(w.done)
	}
}

// wait fails if it takes too long: something is lost.
func (w *wave) wait() error {
	select {
	case <-w.done:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%d followers have not seen the write after 30 s", w.left.Load())
	}
}
