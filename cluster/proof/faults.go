package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// fault is a kind of fault.
type fault struct {
	name     string
	machines bool // it needs separate machines
	do       func(r *round, ctx context.Context) error
}

func (f fault) String() string {
	if f.machines {
		return f.name + " (with -machines)"
	}
	return f.name
}

// allFaults are all kinds of faults, all equally likely.
var allFaults = []fault{
	{"kills of one member", false, func(r *round, ctx context.Context) error { return r.kill(ctx, rand.IntN(nodes)) }},
	{"kills of all members", false, func(r *round, ctx context.Context) error { return r.kill(ctx, 0, 1, 2) }},
	{"members stopped (SIGSTOP)", false, func(r *round, ctx context.Context) error {
		return r.pulse(ctx, rand.IntN(nodes), 1, upTo(3*time.Second), 0)
	}},
	{"slow members (SIGSTOP, again and again)", false, func(r *round, ctx context.Context) error {
		return r.pulse(ctx, rand.IntN(nodes), 20, upTo(100*time.Millisecond), upTo(50*time.Millisecond))
	}},
	{"rolling restarts of members", false, (*round).rollMembers},
	{"rolling restarts of nodes", false, (*round).rollNodes},
	{"nodes whose connections are cut", false, (*round).cutConnections},
	{"nodes that lose all packets", false, (*round).losePackets},
	{"compactions under load", false, (*round).compact},
	{"compactions while a node is cut off", false, (*round).compactUnseen},
	{"power cuts of one member", true, func(r *round, ctx context.Context) error { return r.cutPower(ctx, rand.IntN(nodes)) }},
	{"power cuts of all members", true, func(r *round, ctx context.Context) error { return r.cutPower(ctx, 0, 1, 2) }},
	{"partitions of one machine", true, (*round).partition},
	{"partitions of all machines", true, (*round).partitionAll},
	{"partitions of two machines from each other", true, (*round).partitionTwo},
	{"partitions in one direction", true, (*round).partitionOneWay},
	{"slow cables", true, (*round).slowCable},
	{"full disks", true, (*round).fillDisk},
}

func upTo(d time.Duration) time.Duration { return rand.N(d) }

// kill kills members at the same time, and starts them again.
func (r *round) kill(ctx context.Context, which ...int) error {
	for _, member := range which {
		r.members.Kill(member)
		r.tally.add("processes killed", 1)
	}
	err := pause(ctx, upTo(time.Second))
	for _, member := range which {
		err = errors.Join(err, r.members.Start(member))
	}
	return err
}

// pulse repeatedly stops a member for a time, and lets it continue for another.
func (r *round) pulse(ctx context.Context, member, times int, off, on time.Duration) (err error) {
	for i := 0; i < times && err == nil; i++ {
		if err = r.members.Process(member).Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err = pause(ctx, off)
		err = errors.Join(err, r.members.Process(member).Signal(syscall.SIGCONT), pause(ctx, on))
	}
	return err
}

// rollMembers restarts one member after the other, like an upgrade.
func (r *round) rollMembers(ctx context.Context) error {
	for member := range nodes {
		if err := r.members.Stop(member); err != nil {
			return err
		}
		if err := r.members.Start(member); err != nil {
			return err
		}
		if err := r.serves(ctx, member); err != nil {
			return err
		}
	}
	return nil
}

// serves returns once a member has everything that was in the order before the call.
func (r *round) serves(ctx context.Context, member int) error {
	want := int64(0)
	for {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		if want == 0 {
			if now, err := r.client.Get(limited, "x"); err == nil { // of any member
				want = now.Header.Revision
			}
		}
		status, err := r.client.Status(limited, r.doors[member].Addr())
		cancel()
		if err == nil && want > 0 && status.Header.Revision >= want {
			return nil
		}
		if err := r.members.Lost(); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("member %d does not serve again: %w", member, err)
		}
	}
}

// rollNodes closes the store of one node after the other, and starts it again.
func (r *round) rollNodes(ctx context.Context) error {
	for node := range nodes {
		r.gates[node].Lock()
		r.stores[node].Close()
		err := r.open(ctx, node)
		r.gates[node].Unlock()
		if err != nil {
			return err
		}
		if err := r.progress(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) cutConnections(context.Context) error {
	for _, p := range r.proxies[rand.IntN(nodes)] {
		p.Cut()
	}
	return nil
}

func (r *round) losePackets(ctx context.Context) error {
	node := rand.IntN(nodes)
	for _, p := range r.proxies[node] {
		p.SetOff(true)
	}
	err := pause(ctx, upTo(4*time.Second))
	for _, p := range r.proxies[node] {
		if rand.IntN(2) == 0 {
			p.Cut()
		}
		p.SetOff(false)
	}
	return err
}

// compact removes the history.
func (r *round) compact(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, err := r.client.Get(limited, "x")
	if err == nil {
		_, err = r.client.Compact(limited, now.Header.Revision)
	}
	if err == nil {
		r.tally.add("compactions done", 1)
	}
	return ctx.Err() // a cluster without a leader cannot compact yet
}

// compactUnseen removes the history while a node is cut off, so the node must read the state anew.
func (r *round) compactUnseen(ctx context.Context) error {
	node := rand.IntN(nodes)
	for _, p := range r.proxies[node] {
		p.SetOff(true)
	}
	defer func() {
		for _, p := range r.proxies[node] {
			p.Cut()
			p.SetOff(false)
		}
	}()
	if err := pause(ctx, upTo(300*time.Millisecond)); err != nil {
		return err
	}
	return r.compact(ctx)
}
