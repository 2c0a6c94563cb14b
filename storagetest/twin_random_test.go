package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Stores that write the same keys at random, while they are cut off, answers are lost and history is compacted, lose
// nothing, double nothing, and hold the same in the end. Each tells its subscribers one order.
func TestSharedAtRandom(t *testing.T) {
	for _, seed := range []uint64{1, 2, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sharedAtRandom(t, seed) })
		})
	}
}

func sharedAtRandom(t *testing.T, seed uint64) {
	const count, writers, rounds = 3, 3, 60
	c := &nodes{Twin: new(Twin)}
	var chance sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int) int {
		chance.Lock()
		defer chance.Unlock()
		return random.IntN(n)
	}
	c.Delay = func(int, string) { time.Sleep(time.Duration(draw(20)) * time.Millisecond) }
	mirrors := make([]map[string]string, count)
	var followers sync.WaitGroup
	for i := range count {
		layer := c.Node()
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
		must(t, "Start", store.Start(storage.Options{}))
		c.layers, c.stores = append(c.layers, layer), append(c.stores, store)
		sub, err := store.Subscribe(context.Background(), "", storage.SubscribeOptions{})
		must(t, "Subscribe", err)
		followers.Go(func() { mirrors[i] = holdNotices(t, sub) })
	}
	over := make(chan struct{})
	var chaos, work sync.WaitGroup
	chaos.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(draw(300)) * time.Millisecond):
			}
			switch n := c.layers[draw(count)]; draw(4) {
			case 0:
				n.Cut()
			case 1:
				n.LoseAnswers()
			case 2:
				c.Compact()
			}
			time.Sleep(time.Duration(draw(700)) * time.Millisecond)
			for _, n := range c.layers {
				n.Heal()
			}
		}
	})
	var added, pushed [count * writers]int
	for w := range count * writers {
		s := c.stores[w%count]
		work.Go(func() {
			for range rounds {
				var err error
				switch draw(8) {
				case 0, 1:
					if _, err = s.Update("counter", func(old meta.Object) (json.RawMessage, error) { return addOne(old.Data) }); err == nil {
						added[w]++
					}
				case 2, 3:
					if _, err = s.Push("log/*", json.RawMessage(strconv.Itoa(w))); err == nil {
						pushed[w]++
					}
				case 4:
					_, err = s.Set(fmt.Sprintf("k/%d", draw(5)), json.RawMessage(strconv.Itoa(w)))
				case 5:
					err = s.Del(fmt.Sprintf("k/%d", draw(5)))
				case 6:
					var b storage.Batch
					data := json.RawMessage(strconv.Itoa(draw(1000)))
					b.Set("pair/1", data)
					b.Set("pair/2", data)
					_, err = s.Commit(&b)
				case 7:
					err = s.Del("k/*")
				}
				if err != nil && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("writer %d: %v", w, err)
				}
				time.Sleep(time.Duration(draw(30)) * time.Millisecond)
			}
		})
	}
	work.Wait()
	close(over)
	chaos.Wait()
	want := make(map[string]string)
	for path, obj := range c.objects {
		want[path] = string(obj.Data)
	}
	wantAdded, wantPushed := 0, 0
	for w := range added {
		wantAdded += added[w]
		wantPushed += pushed[w]
	}
	for i, s := range c.stores {
		barrier(t, s)
		got := make(map[string]string)
		for obj, err := range s.Iterate("**", storage.ListOptions{}) {
			must(t, "Iterate", err)
			got[obj.Path] = string(obj.Data)
		}
		if !maps.Equal(got, want) {
			t.Errorf("node %d holds %v, the engine %v", i, got, want)
		}
		if counter, err := s.Get("counter"); err != nil || string(counter.Data) != strconv.Itoa(wantAdded) {
			t.Errorf("node %d has counted %s, %v, want the %d that were acknowledged", i, counter.Data, err, wantAdded)
		}
		if n, err := s.Count("log/*"); err != nil || n != wantPushed {
			t.Errorf("node %d holds %d pushes, %v, want the %d that were acknowledged", i, n, err, wantPushed)
		}
		s.Close()
	}
	followers.Wait()
	for i, got := range mirrors {
		if !maps.Equal(got, want) {
			t.Errorf("a subscriber of node %d holds %v, the engine %v", i, got, want)
		}
	}
}

// addOne counts up a number, from nothing on.
func addOne(data json.RawMessage) (json.RawMessage, error) {
	n := 0
	if len(data) > 0 {
		if err := json.Unmarshal(data, &n); err != nil {
			return nil, err
		}
	}
	return json.RawMessage(strconv.Itoa(n + 1)), nil
}

// holdNotices keeps what a subscription tells in a map, until the store is closed, and holds it to its order.
func holdNotices(t *testing.T, sub *storage.Subscription) map[string]string {
	held := make(map[string]string)
	last := uint64(0)
	var pair string // what the batches wrote, while one is told
	for n, err := range sub.All(context.Background()) {
		if errors.Is(err, storage.ErrNotActive) {
			return held
		}
		if err != nil {
			t.Errorf("Next: %v", err)
			return held
		}
		switch n.Kind {
		case storage.NoticeReset:
			clear(held)
			last = 0
		case storage.NoticeLive:
			last = n.Revision
		case storage.NoticeState:
			held[n.Path] = string(n.Object.Data)
		case storage.NoticeSet, storage.NoticeDel:
			if n.Revision < last {
				t.Errorf("%v %s of revision %d comes behind %d", n.Kind, n.Path, n.Revision, last)
			}
			last = n.Revision
			if n.Kind == storage.NoticeDel {
				delete(held, n.Path)
				break
			}
			held[n.Path] = string(n.Object.Data)
			if n.Path == "pair/1" {
				pair = string(n.Object.Data)
				if !n.More {
					t.Errorf("%s of a batch comes without More", n.Path)
				}
			} else if n.Path == "pair/2" && string(n.Object.Data) != pair {
				t.Errorf("half of a batch is told: %s behind %s", n.Object.Data, pair)
			}
		}
	}
	return held
}
