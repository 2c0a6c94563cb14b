package main

import (
	"context"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/storage"
)

// catchUp measures how long a node that was cut off takes to receive what it missed, and how much of that time the
// watch takes.
func (b *bench) catchUp() error {
	layer := etcd.New(b.members.Endpoints(), etcd.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return err
	}
	defer layer.Close()
	from, err := layer.LastRevision()
	if err != nil {
		return err
	}
	var proxies []*flaky.Proxy
	var endpoints []string
	for _, member := range b.members.Endpoints() {
		p, err := flaky.Start(member)
		if err != nil {
			return err
		}
		defer p.Close()
		proxies, endpoints = append(proxies, p), append(endpoints, p.Addr())
	}
	s, err := b.nodeAt(endpoints)
	if err != nil {
		return err
	}
	defer s.Close()
	before := s.Stats().Changes
	for _, p := range proxies {
		p.SetOff(true)
	}
	if err := b.fill(layer, b.missed, 500, func(i int) string { return fmt.Sprintf("missed/%d", i%500) }); err != nil {
		return err
	}
	for _, p := range proxies {
		p.Cut()
		p.SetOff(false)
	}
	began := time.Now()
	if err := b.served(func() error { return s.Barrier(context.Background()) }); err != nil {
		return err
	}
	node := time.Since(began).Seconds()
	if got := s.Stats().Changes - before; got < uint64(b.missed) {
		return fmt.Errorf("the node that was cut off took in %d changes, want %d", got, b.missed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := 0
	began = time.Now()
	for commit, err := range layer.Follow(ctx, from) {
		if err != nil {
			return err
		}
		if seen += len(commit.Changes); seen >= b.missed {
			break
		}
	}
	watch := time.Since(began).Seconds()
	b.row(fmt.Sprintf("%d missed changes, from the network's return to the node", b.missed), "s", []float64{node}, nil, "<= 2 for 100,000")
	b.row("the watch's part of it", "s", []float64{watch}, nil, "")
	return nil
}

// fill proposes n objects, some in each transaction.
func (b *bench) fill(layer *etcd.Layer, n, each int, path func(i int) string) error {
	for done := 0; done < n; {
		t := new(storage.SharedTransaction)
		for range min(each, n-done) {
			t.Changes = append(t.Changes, storage.SharedChange{Key: path(done), Object: objectOf(path(done))})
			done++
		}
		err := b.served(func() error {
			_, err := layer.Propose(context.Background(), t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mirror measures the start of a node with many objects.
func (b *bench) mirror() error {
	layer := etcd.New(b.members.Endpoints(), etcd.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return err
	}
	err := b.fill(layer, b.objects, 2000, func(i int) string { return fmt.Sprintf("many/%d/%d", i/10_000, i) })
	layer.Close()
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := b.node()
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	n := s.Stats().Objects
	s.Close()
	b.row(fmt.Sprintf("start of a node, %d objects", n), "s", []float64{took}, nil, "<= 20 for 1,000,000")
	return nil
}
