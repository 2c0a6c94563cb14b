package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/storage"
)

// manyNodes measures the load that more nodes put on the members: each follows all changes, and asks twice a second
// whether it is current.
func (b *bench) manyNodes() error {
	ctx, cancel := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	defer followers.Wait()
	defer cancel()
	failed := make(chan error, 1)
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	nodes := len(b.nodes)
	for _, count := range b.counts {
		for ; nodes < count; nodes++ {
			layer := etcd.New(b.members.Endpoints(), etcd.Options{})
			if err := layer.Start(storage.LayerOptions{}); err != nil {
				return err
			}
			from, err := layer.LastRevision()
			if err != nil {
				layer.Close()
				return err
			}
			followers.Go(func() {
				defer layer.Close()
				var asking sync.WaitGroup
				defer asking.Wait()
				asking.Go(func() {
					for ctx.Err() == nil {
						_, err := layer.Barrier(ctx)
						fail(err)
						select {
						case <-time.After(500 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				})
				for _, err := range layer.Follow(ctx, from) {
					if err != nil {
						fail(err)
						return
					}
				}
			})
		}
		before, err := b.memberCPU()
		if errors.Is(err, os.ErrNotExist) {
			return nil // the system does not report it
		}
		if err != nil {
			return err
		}
		began := time.Now()
		tick := time.NewTicker(5 * time.Millisecond)
		for i := range b.writes {
			<-tick.C
			if _, err := b.nodes[0].Set(fmt.Sprintf("nodes/%d", i%50), body); err != nil {
				return err
			}
		}
		tick.Stop()
		took := time.Since(began)
		after, err := b.memberCPU()
		if err != nil {
			return err
		}
		select {
		case err := <-failed:
			return fmt.Errorf("a follower: %w", err)
		default:
		}
		cores := (after - before).Seconds() / took.Seconds()
		b.row(fmt.Sprintf("cores of the members, %.0f writes a second, %d nodes", float64(b.writes)/took.Seconds(), count), "", []float64{cores}, nil, "")
	}
	return nil
}

// memberCPU returns the processor time that the members have used so far.
func (b *bench) memberCPU() (all time.Duration, err error) {
	for i := range b.members.Endpoints() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.members.Process(i).Pid))
		if err != nil {
			return 0, err
		}
		// After the name, which may contain anything, come the state and numbers: the 12th and 13th are hundredths of
		// seconds.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, at := range []int{11, 12} {
			n, err := strconv.Atoi(fields[at])
			if err != nil {
				return 0, err
			}
			all += time.Duration(n) * time.Second / 100
		}
	}
	return all, nil
}
