package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// turn is a call for a lock, in the model and in the store.
type turn struct {
	path  string
	owned bool          // by a lease
	ttl   time.Duration // of the lease

	// What the model says.
	state   turnState
	refused error     // why a waiting turn ended
	expires time.Time // of a lease that began

	// What the store says.
	cancel   context.CancelFunc // nil for TryLock
	returned bool
	lease    *Lease
	err      error
}

type turnState int

const (
	waiting turnState = iota
	holding
	over   // it held, and holds no more
	denied // it never held
)

// lockModel is the registry as it is meant to be: for each path a queue, of which the first
// holds the lock.
type lockModel struct {
	queues map[string][]*turn
	turns  []*turn
}

func (m *lockModel) add(c *turn, now time.Time) {
	m.turns = append(m.turns, c)
	m.queues[c.path] = append(m.queues[c.path], c)
	m.settle(c.path, now)
}

// settle lets the first of a queue hold.
func (m *lockModel) settle(path string, now time.Time) {
	if queue := m.queues[path]; len(queue) > 0 && queue[0].state == waiting {
		queue[0].state = holding
		queue[0].expires = now.Add(queue[0].ttl)
	}
}

// remove takes a turn out of its queue.
func (m *lockModel) remove(c *turn, state turnState, now time.Time) {
	c.state = state
	m.queues[c.path] = slices.DeleteFunc(m.queues[c.path], func(other *turn) bool { return other == c })
	m.settle(c.path, now)
}

// pass ends the leases whose time is over, each at its time.
func (m *lockModel) pass(now time.Time) {
	for path := range m.queues {
		for {
			c := m.holder(path)
			if c == nil || !c.owned || c.expires.After(now) {
				break
			}
			m.remove(c, over, c.expires)
		}
	}
}

func (m *lockModel) holder(path string) *turn {
	if queue := m.queues[path]; len(queue) > 0 {
		return queue[0]
	}
	return nil
}

// unlock is what Unlock and SetAndUnlock of a path are to return.
func (m *lockModel) unlock(path string, now time.Time) error {
	switch c := m.holder(path); {
	case c == nil:
		return ErrLockNotFound
	case c.owned:
		return ErrLockOwned
	default:
		m.remove(c, over, now)
		return nil
	}
}

// modelRun compares the store with the model, call by call.
type modelRun struct {
	*testing.T
	rng   *rand.Rand
	store *Layered
	lockModel
	writes int
}

// step makes a random call and says which.
func (m *modelRun) step() string {
	path := numbered(m.rng.IntN(3))
	now := time.Now()
	switch n := m.rng.IntN(100); {
	case n < 25:
		c := &turn{path: path, owned: true, ttl: time.Duration(1+m.rng.IntN(5)) * time.Second}
		m.begin(c, now)
		return fmt.Sprintf("Acquire %s for %v", path, c.ttl)
	case n < 35:
		m.begin(&turn{path: path}, now)
		return "Lock " + path
	case n < 40:
		free := m.holder(path) == nil
		if got := m.store.TryLock(path); got != free {
			m.Errorf("TryLock is %v, want %v", got, free)
		}
		if free {
			m.add(&turn{path: path, returned: true}, now)
		}
		return "TryLock " + path
	case n < 48:
		m.compare(m.store.Unlock(path), m.unlock(path, now))
		return "Unlock " + path
	case n < 56:
		m.writes++
		data := fmt.Sprint(m.writes)
		_, err := m.store.SetAndUnlock(path, []byte(data))
		want := m.unlock(path, now)
		m.compare(err, want)
		obj, err := m.store.Get(path)
		if (string(obj.Data) == data) != (want == nil) {
			m.Errorf("SetAndUnlock of %s left %q, %v", data, obj.Data, err)
		}
		return "SetAndUnlock " + path
	case n < 64:
		return m.cancel()
	case n < 74:
		return m.release(now)
	case n < 84:
		return m.renew(now)
	default:
		d := time.Duration(m.rng.IntN(4)) * time.Second
		time.Sleep(d)
		m.pass(now.Add(d))
		return fmt.Sprintf("%v later", d)
	}
}

// begin makes a call that may wait.
func (m *modelRun) begin(c *turn, now time.Time) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	m.add(c, now)
	go func() {
		if c.owned {
			c.lease, c.err = m.store.Acquire(ctx, c.path, c.ttl)
		} else {
			c.err = m.store.LockContext(ctx, c.path)
		}
		c.returned = true
	}()
}

// cancel ends the context of a turn, which counts only while it waits.
func (m *modelRun) cancel() string {
	c := m.pick(func(c *turn) bool { return c.cancel != nil })
	if c == nil {
		return "nothing to cancel"
	}
	c.cancel()
	if c.state == waiting {
		c.refused = context.Canceled
		m.remove(c, denied, time.Now())
	}
	return "cancel of a turn of " + c.path
}

// release releases a lease that holds or did.
func (m *modelRun) release(now time.Time) string {
	c := m.pick(func(c *turn) bool { return c.lease != nil })
	if c == nil {
		return "nothing to release"
	}
	err := c.lease.Release()
	if c.state == holding {
		m.compare(err, nil)
		m.remove(c, over, now)
	} else {
		m.compare(err, ErrLeaseLost)
	}
	return "Release of a lease of " + c.path
}

// renew renews a lease that holds or did.
func (m *modelRun) renew(now time.Time) string {
	c := m.pick(func(c *turn) bool { return c.lease != nil })
	if c == nil {
		return "nothing to renew"
	}
	ttl := time.Duration(m.rng.IntN(6)) * time.Second
	err := c.lease.Renew(ttl)
	switch {
	case ttl == 0:
		m.compare(err, ErrInvalidTTL)
	case c.state != holding:
		m.compare(err, ErrLeaseLost)
	default:
		m.compare(err, nil)
		c.expires = now.Add(ttl)
	}
	return fmt.Sprintf("Renew of a lease of %s for %v", c.path, ttl)
}

// pick chooses among the latest turns that are fit, or returns nil.
func (m *modelRun) pick(fit func(*turn) bool) *turn {
	var fits []*turn
	for _, c := range m.turns[max(0, len(m.turns)-20):] {
		if fit(c) {
			fits = append(fits, c)
		}
	}
	if len(fits) == 0 {
		return nil
	}
	return fits[m.rng.IntN(len(fits))]
}

func (m *modelRun) compare(got, want error) {
	m.Helper()
	if !errors.Is(got, want) {
		m.Errorf("the error is %v, want %v", got, want)
	}
}

// check compares everything that the store shows with the model.
func (m *modelRun) check() {
	m.Helper()
	token := map[string]uint64{} // the newest of each path
	for i, c := range m.turns {
		if c.returned != (c.state != waiting) || !errors.Is(c.err, c.refused) || (c.err != nil) != (c.refused != nil) {
			m.Errorf("turn %d of %s: returned is %v with %v, the model says state %d with %v", i, c.path, c.returned, c.err, c.state, c.refused)
		}
		if c.lease == nil {
			continue
		}
		if isDone(c.lease) != (c.state != holding) {
			m.Errorf("turn %d of %s: Done is %v, the model says state %d", i, c.path, isDone(c.lease), c.state)
		}
		if !c.lease.Expires().Equal(c.expires) {
			m.Errorf("turn %d of %s: expires at %v, the model says %v", i, c.path, c.lease.Expires(), c.expires)
		}
		if c.lease.Token() <= token[c.path] {
			m.Errorf("turn %d of %s: token %d after %d", i, c.path, c.lease.Token(), token[c.path])
		}
		token[c.path] = c.lease.Token()
	}
	table := m.store.run.Load().locks
	table.mu.Lock()
	defer table.mu.Unlock()
	inUse := 0
	for path, queue := range m.queues {
		if len(queue) == 0 {
			continue
		}
		inUse++
		if lock := table.held[path]; lock == nil || lock.waiters.Len() != len(queue)-1 {
			m.Errorf("the registry's lock of %s is %+v, the model has %d waiters", path, lock, len(queue)-1)
		}
	}
	if len(table.held) != inUse {
		m.Errorf("the registry holds %d locks, the model %d", len(table.held), inUse)
	}
}

// closeAll closes the store and checks that everything ends.
func (m *modelRun) closeAll() {
	m.store.Close()
	synctest.Wait()
	for i, c := range m.turns {
		if c.state == waiting && (!c.returned || !errors.Is(c.err, ErrNotActive)) {
			m.Errorf("turn %d of %s, which waits: returned is %v with %v after Close, want ErrNotActive", i, c.path, c.returned, c.err)
		}
		if c.lease != nil && !isDone(c.lease) {
			m.Errorf("turn %d of %s: the lease outlives the store", i, c.path)
		}
		if c.cancel != nil {
			c.cancel()
		}
	}
}

// Random calls, with a clock that only the test moves, do to the store what they do to a
// plain model: who holds, who waits and in which order, which error, when a lease ends.
func TestLeasesAgainstModel(t *testing.T) {
	seeds := []uint64{rand.Uint64()} // a new one each time, then the same ones
	for seed := range uint64(30) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &modelRun{
					T: t, rng: rand.New(rand.NewPCG(seed, 0)), store: openMemory(t, Options{}),
					lockModel: lockModel{queues: map[string][]*turn{}},
				}
				for i := range 300 {
					did := m.step()
					synctest.Wait()
					m.check()
					if t.Failed() {
						t.Logf("call %d: %s", i, did)
						break
					}
				}
				m.closeAll()
			})
		})
	}
}
