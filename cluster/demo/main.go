// Command demo shows a store on three nodes: an etcd cluster of three members and a server on each, all on this
// machine. It writes to all of them, kills one while the writes continue, and reports what happened to the
// acknowledged writes, and to a stream that the killed node served.
//
//	go run ./demo          half a minute
//	go run ./demo -stay    until Ctrl-C: look at http://127.0.0.1:8801, :8802 and :8803 meanwhile
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// nodeVariable makes the program a node. Its value is the node's number and the directory of the demo.
const nodeVariable = "OOLITH_DEMO_NODE"

const nodes = 3

// The addresses of the nodes.
func address(node int) string { return fmt.Sprintf("127.0.0.1:%d", 8801+node) }

func members() (all []etcdserver.Member) {
	for i := range nodes {
		all = append(all, etcdserver.Member{Name: fmt.Sprintf("node%d", i+1), ClientPort: 8811 + i, PeerPort: 8821 + i})
	}
	return all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if node := os.Getenv(nodeVariable); node != "" {
		etcdserver.EndWithParent()
		err = serve(ctx, node)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// serve runs one node: a member of the cluster, a store, and a server.
func serve(ctx context.Context, arguments string) error {
	place, dir, _ := strings.Cut(arguments, ",")
	node, err := strconv.Atoi(place)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", nodeVariable, arguments, err)
	}
	all := members()
	member, err := etcdserver.Start(ctx, filepath.Join(dir, all[node].Name), all[node], all)
	if err != nil {
		return err
	}
	defer member.Close()
	var endpoints []string
	for _, m := range all {
		endpoints = append(endpoints, m.Client())
	}
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: etcd.New(endpoints, etcd.Options{})})
	for {
		err := store.Start(storage.Options{})
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
	defer store.Close()
	listener, err := net.Listen("tcp", address(node))
	if err != nil {
		return err
	}
	handler := server.New(store, server.Options{})
	defer handler.Close()
	return handler.Serve(ctx, listener)
}

// demo runs the three nodes as processes.
type demo struct {
	out       io.Writer
	dir       string
	processes [nodes]*etcdserver.Process
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	stay := flags.Bool("stay", false, "go on until Ctrl-C")
	seconds := flags.Int("seconds", 4, "how long each part of the demo takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "oolith-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{out: out, dir: dir}
	defer d.close()
	for node := range nodes {
		if err := d.start(node); err != nil {
			return err
		}
	}
	for node := range nodes {
		if err := d.ready(ctx, node); err != nil {
			return err
		}
		fmt.Fprintf(out, "node %d serves http://%s\n", node+1, address(node))
	}
	if err := d.show(ctx, time.Duration(*seconds)*time.Second); err != nil {
		return err
	}
	if *stay {
		fmt.Fprintln(out, "Ctrl-C ends the demo")
		<-ctx.Done()
	}
	return nil
}

func (d *demo) start(node int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%s", nodeVariable, node, d.dir))
	d.processes[node], err = etcdserver.StartProcess(cmd, nil)
	return err
}

// kill kills a node, like a power failure.
func (d *demo) kill(node int) {
	if process := d.processes[node]; process != nil {
		process.Kill()
		d.processes[node] = nil
	}
}

func (d *demo) close() {
	for node := range nodes {
		d.kill(node)
	}
}

// lost returns an error that says why a node ended by itself, if one did.
func (d *demo) lost() error {
	for node, process := range d.processes {
		if process == nil {
			continue
		}
		if err := process.Lost(); err != nil {
			return fmt.Errorf("node %d %w", node+1, err)
		}
	}
	return nil
}

// ready returns once a node serves.
func (d *demo) ready(ctx context.Context, node int) error {
	for {
		response, err := http.Get("http://" + address(node) + "/~/readyz")
		if err == nil {
			_ = response.Body.Close() // only the status matters
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := d.lost(); err != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// others is a transport that switches to the next node if one does not answer.
type others struct{ first int }

func (o *others) RoundTrip(r *http.Request) (response *http.Response, err error) {
	for i := range nodes {
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		again.URL.Host = address((o.first + i) % nodes)
		again.Host = again.URL.Host
		if response, err = http.DefaultTransport.RoundTrip(again); err == nil || r.Context().Err() != nil {
			break
		}
	}
	return response, err
}

// connect returns a client of one node that uses the others if that node is gone.
func connect(node int) (*client.Client, error) {
	return client.New("http://"+address(node), client.Options{HTTP: &http.Client{Transport: &others{node}}, Retries: 20})
}

// tally records what was acknowledged, and what a stream delivered.
type tally struct {
	mu     sync.Mutex
	acked  map[string]bool
	told   map[string]int
	failed int
}

func (d *demo) show(ctx context.Context, part time.Duration) error {
	t := &tally{acked: make(map[string]bool), told: make(map[string]int)}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var followers, writers sync.WaitGroup
	watcher, err := connect(1)
	if err != nil {
		return err
	}
	sub, err := watcher.Subscribe("readings/*", client.SubscribeOptions{})
	if err != nil {
		return err
	}
	followers.Go(func() { t.follow(ctx, sub) })
	over := make(chan struct{})
	for node := range nodes {
		c, err := connect(node)
		if err != nil {
			return err
		}
		writers.Go(func() { t.write(ctx, c, node, over) })
	}
	pass := func(what string) error {
		fmt.Fprintln(d.out, what)
		for end := time.Now().Add(part); time.Now().Before(end); {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := d.lost(); err != nil {
				return err
			}
			t.mu.Lock()
			fmt.Fprintf(d.out, "  %6d writes acknowledged, %6d of them told by the stream\n", len(t.acked), len(t.told))
			t.mu.Unlock()
		}
		return nil
	}
	if err := pass("all three nodes write; a stream follows on node 2"); err != nil {
		return err
	}
	d.kill(1)
	if err := pass("node 2 is killed (kill -9): member, store and server; the writes go on, the stream moves to another node"); err != nil {
		return err
	}
	if err := d.start(1); err != nil {
		return err
	}
	if err := pass("node 2 starts again"); err != nil {
		return err
	}
	close(over)
	writers.Wait()
	err = d.judge(ctx, t)
	stop()
	followers.Wait()
	sub.Close()
	return err
}

// write pushes readings to a node, or to another one if it is gone, until over.
func (t *tally) write(ctx context.Context, c *client.Client, node int, over <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		default:
		}
		id := fmt.Sprintf(`"%d-%d"`, node+1, i)
		_, err := c.Push(ctx, "readings/*", json.RawMessage(id), storage.SetOptions{})
		t.mu.Lock()
		if err == nil {
			t.acked[id] = true
		} else {
			t.failed++
		}
		t.mu.Unlock()
	}
}

func (t *tally) follow(ctx context.Context, sub *client.Subscription) {
	for {
		n, err := sub.Next(ctx)
		if err != nil {
			return
		}
		t.mu.Lock()
		if n.Kind == storage.NoticeReset {
			clear(t.told)
		}
		if n.Object != nil && len(n.Object.Data) > 0 {
			t.told[string(n.Object.Data)]++
		}
		t.mu.Unlock()
	}
}

// judge compares every node, and the stream, with what was acknowledged.
func (d *demo) judge(ctx context.Context, t *tally) error {
	for node := range nodes {
		if err := d.ready(ctx, node); err != nil {
			return err
		}
		c, err := client.New("http://"+address(node), client.Options{})
		if err != nil {
			return err
		}
		held, err := all(ctx, c)
		if err != nil {
			return err
		}
		lost, twice := t.missing(held)
		fmt.Fprintf(d.out, "node %d holds %d readings: %d acknowledged ones are lost, %d are there twice\n", node+1, len(held), lost, twice)
		if lost+twice > 0 {
			return errors.New("what was acknowledged is not there once")
		}
	}
	for {
		t.mu.Lock()
		told := make(map[string]int)
		for id, n := range t.told {
			told[id] = n
		}
		acked := len(t.acked)
		t.mu.Unlock()
		lost, twice := t.missing(told)
		if lost == 0 || ctx.Err() != nil {
			fmt.Fprintf(d.out, "the stream told %d of %d acknowledged writes, %d of them twice; %d writes failed and were not made\n", acked-lost, acked, twice, t.failed)
			if twice > 0 {
				return errors.New("the stream told writes twice")
			}
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t *tally) missing(held map[string]int) (lost, twice int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.acked {
		if held[id] == 0 {
			lost++
		}
	}
	for _, n := range held {
		if n > 1 {
			twice++
		}
	}
	return lost, twice
}

// all counts the readings that a node holds.
func all(ctx context.Context, c *client.Client) (map[string]int, error) {
	held := make(map[string]int)
	for cursor := ""; ; {
		page, err := c.Page(ctx, "readings/*", storage.ListOptions{Limit: 1000, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		for _, obj := range page.Objects {
			held[string(obj.Data)]++
		}
		if cursor = page.Next; cursor == "" {
			return held, nil
		}
	}
}
