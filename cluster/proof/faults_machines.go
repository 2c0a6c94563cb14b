package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// Faults of machines: their power, their network, their disks.

// cutPower cuts the power of machines, all at once, and restores it. Of the data that a disk had not flushed, nothing
// survives, or all, or some.
func (r *round) cutPower(ctx context.Context, which ...int) error {
	share := []float64{0, rand.Float64(), 1}[rand.IntN(3)]
	if rand.IntN(4) > 0 {
		r.machines.At(which[0]).Disk.AwaitWrite(100 * time.Millisecond)
	}
	for _, member := range which {
		r.tally.add("sectors lost in cuts", r.machines.At(member).Disk.Cut(share))
	}
	for _, member := range which {
		r.members.Kill(member)
		r.tally.add("power cuts of a machine", 1)
	}
	err := pause(ctx, upTo(time.Second))
	for _, member := range which {
		err = errors.Join(err, r.machines.At(member).Disk.Restore(), r.members.Start(member))
	}
	return err
}

// staleWithin is the time within which a node must report that it is cut off from the majority.
const staleWithin = 2 * time.Second

// partition unplugs the cable of one machine: its member is a minority of one. The others continue. The node reports
// that it is stale, rejects writes, and continues with reads.
func (r *round) partition(ctx context.Context) (err error) {
	node := rand.IntN(nodes)
	m, s := r.machines.At(node), r.stores[node]
	if err := m.SetPlugged(false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.SetPlugged(true)) }()
	if rand.IntN(3) == 0 {
		return pause(ctx, upTo(staleWithin))
	}
	if err := pause(ctx, staleWithin); err != nil {
		return err
	}
	if age := s.Stats().Staleness; age < staleWithin/2 {
		return fmt.Errorf("node %d, cut off %v ago, says that it is %v old", node, staleWithin, age)
	}
	if err := r.progress(ctx); err != nil { // of the others
		return err
	}
	for s.Stats().Unavailable == nil {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("node %d, cut off, does not say so: %w", node, err)
		}
	}
	if _, err := s.Set("minority", []byte(`1`)); !errors.Is(err, storage.ErrUnavailable) {
		return fmt.Errorf("a write on node %d, cut off: %w, want ErrUnavailable", node, err)
	}
	if _, err := s.GetList("log/*"); err != nil {
		return fmt.Errorf("a read on node %d, cut off: %w", node, err)
	}
	r.tally.add("minorities that said so, refused writes and read", 1)
	return pause(ctx, upTo(staleWithin))
}

// partitionAll unplugs all cables: there is no quorum.
func (r *round) partitionAll(ctx context.Context) (err error) {
	for node := range nodes {
		err = errors.Join(err, r.machines.At(node).SetPlugged(false))
	}
	err = errors.Join(err, pause(ctx, upTo(4*time.Second)))
	for node := range nodes {
		err = errors.Join(err, r.machines.At(node).SetPlugged(true))
	}
	return err
}

// partitionTwo drops the packets between two machines, which both still reach the third one.
func (r *round) partitionTwo(ctx context.Context) error {
	a := rand.IntN(nodes)
	return r.loses(ctx, [][2]int{{a, (a + 1) % nodes}, {(a + 1) % nodes, a}})
}

// partitionOneWay drops the packets from one machine to the others, or from them to it, in one direction only.
func (r *round) partitionOneWay(ctx context.Context) error {
	a := rand.IntN(nodes)
	ways := [][2]int{{a, (a + 1) % nodes}, {a, (a + 2) % nodes}}
	if rand.IntN(2) == 0 {
		ways = [][2]int{{(a + 1) % nodes, a}, {(a + 2) % nodes, a}}
	}
	return r.loses(ctx, ways)
}

// loses drops the packets of some connections for a while.
func (r *round) loses(ctx context.Context, ways [][2]int) (err error) {
	for _, way := range ways {
		err = errors.Join(err, r.machines.At(way[0]).SetReaches(r.machines.At(way[1]), false))
	}
	err = errors.Join(err, pause(ctx, upTo(4*time.Second)))
	for _, way := range ways {
		err = errors.Join(err, r.machines.At(way[0]).SetReaches(r.machines.At(way[1]), true))
	}
	return err
}

// slowCable makes the cable of a machine slow for a while.
func (r *round) slowCable(ctx context.Context) error {
	m := r.machines.At(rand.IntN(nodes))
	err := m.SetSlow(true)
	return errors.Join(err, pause(ctx, upTo(4*time.Second)), m.SetSlow(false))
}

// fillDisk fills the disk of a machine, and writes until its member stops, as etcd's members do. The others continue;
// the member comes back once there is space.
func (r *round) fillDisk(ctx context.Context) error {
	member := rand.IntN(nodes)
	disk := r.machines.At(member).Disk
	if err := disk.Fill(1 << 20); err != nil {
		return err
	}
	ended := r.members.Ended(member)
	large := strings.Repeat("x", 1<<20)
	for i, full := 0, false; !full; i++ {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, _ = r.client.Put(limited, fmt.Sprint("large/", i%4), large) // not through a store; it may be rejected
		cancel()
		select {
		case <-ended:
			full = true
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
	if lost := r.members.Lost(); lost == nil || !strings.Contains(lost.Error(), "no space left on device") {
		return fmt.Errorf("the end of a member does not name its full disk: %v", lost)
	}
	r.tally.add("members that ended of a full disk", 1)
	if err := r.progress(ctx); err != nil {
		return err
	}
	r.members.Kill(member) // the rest of it
	if err := errors.Join(disk.Free(), r.members.Start(member)); err != nil {
		return err
	}
	if err := r.serves(ctx, member); err != nil {
		return err
	}
	r.tally.add("members that rejoined with room", 1)
	return r.compact(ctx) // removes the large values
}
