package storage

import (
	"sync"
	"sync/atomic"
)

const (
	// shardBuffer is the capacity of each shard's channel.
	shardBuffer = 100
	// shardFold is how many events a shard takes in before its pump must look at them,
	// though it is stuck in a send.
	shardFold = 1024
)

// ShardedChan is a set of event channels. All events of one key come on one of them,
// FNV-1a(key) % Count, in the order in which they were sent. Between the channels there is no
// order: the event of a glob delete, whose key is the pattern, may arrive before events
// of the keys that it removed. Watch keeps them in one order.
//
// Send never blocks. Each channel buffers 100 events. Past the buffer, events wait in a
// queue, and when 16,384 wait, only the newest event of each key is kept, in order, until
// the consumer has caught up. A key that is created and removed meanwhile is told by nothing. So the final
// state always arrives, and a consumer that never reads costs at most that queue and one event for each key
// that there is or that it was told of; Stats tells of it. Consumers of one ShardedChan share its events, as channels do.
//
// All methods may be called from any goroutine. The zero value has no channels, and drops what is sent.
type ShardedChan struct {
	shards []*shard
	closed chan struct{} // closed by Close when all channels are
	once   sync.Once
}

// ShardedStats is what an operator may want to know of a ShardedChan.
type ShardedStats struct {
	// Queued is how many events wait beyond the channels' buffers.
	Queued int
	// Coalesced is how many events were dropped because a newer one of their key waited, or because the key was
	// created and removed again.
	Coalesced uint64
	// Dropped is how many events Close gave up on, because nobody read them.
	Dropped uint64
}

// NewShardedChan returns a ShardedChan of shardCount channels; 6 when that is zero or less.
func NewShardedChan(shardCount int) *ShardedChan {
	if shardCount <= 0 {
		shardCount = defaultWorkers
	}
	s := &ShardedChan{shards: make([]*shard, shardCount), closed: make(chan struct{})}
	for i := range s.shards {
		s.shards[i] = &shard{
			ch:   make(StorageChan, shardBuffer),
			wake: make(chan struct{}, 1),
			quit: make(chan struct{}),
			done: make(chan struct{}),
		}
	}
	return s
}

// Count returns the number of shards.
func (s *ShardedChan) Count() int { return len(s.shards) }

// Shard returns the channel of a shard, to receive from: only the ShardedChan sends
// and closes. It is nil, which never delivers, for an index that there is not.
func (s *ShardedChan) Shard(index int) StorageChan {
	if index < 0 || index >= len(s.shards) {
		return nil
	}
	return s.shards[index].ch
}

// ShardFor returns the index of the shard that carries a key's events.
func (s *ShardedChan) ShardFor(key string) int {
	// FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
	hash := uint32(2166136261)
	for i := range len(key) {
		hash ^= uint32(key[i])
		hash *= 16777619
	}
	if len(s.shards) == 0 {
		return 0 // the zero value
	}
	// Unsigned to the end: an int would be negative for half of the keys on 32 bits.
	return int(hash % uint32(len(s.shards)))
}

// Send delivers an event to its shard, at once when the channel has room. It never
// blocks. After Close it does nothing.
func (s *ShardedChan) Send(event Event) { s.tell(news{Event: event}) }

// tell is Send for an event with more than it says. What is no event goes to the shards that have a queue.
func (s *ShardedChan) tell(n news) {
	switch {
	case len(s.shards) == 0: // the zero value
	case n.kind == newsClearing:
		for _, sh := range s.shards {
			sh.send(n)
		}
	default:
		s.shards[s.ShardFor(n.Key)].send(n)
	}
}

// Close ends the channels. Events that wait are delivered first to consumers that keep
// reading: for at most 5 seconds in all, and until none was taken for one to two
// seconds. It may be called any number of times.
func (s *ShardedChan) Close() {
	if s.closed == nil {
		return // the zero value has no channels
	}
	s.once.Do(func() {
		defer close(s.closed)
		for _, sh := range s.shards {
			sh.close()
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for _, sh := range s.shards {
				<-sh.done
			}
		}()
		if drain(drained, s.delivered) {
			return
		}
		for _, sh := range s.shards {
			close(sh.quit)
		}
		<-drained
	})
	<-s.closed
}

// Stats returns the present figures.
func (s *ShardedChan) Stats() ShardedStats {
	var stats ShardedStats
	for _, sh := range s.shards {
		sh.mu.Lock()
		stats.Queued += len(sh.incoming) + int(sh.queued.Load())
		sh.mu.Unlock()
		stats.Coalesced += sh.coalesced.Load()
		stats.Dropped += sh.dropped.Load()
	}
	return stats
}

func (s *ShardedChan) delivered() uint64 {
	var sum uint64
	for _, sh := range s.shards {
		sum += sh.delivered.Load()
	}
	return sum
}

// shard is one channel with its queue. While the queue is empty, send delivers into the
// channel itself; else a pump, a goroutine that lives as long as the queue, does.
type shard struct {
	ch   StorageChan
	wake chan struct{} // 1 token: the pump shall look at incoming
	quit chan struct{} // closed: the pump shall drop what waits
	done chan struct{} // closed with ch

	mu       sync.Mutex // guards the fields below; the pump holds it for moments only
	incoming []news     // sent, and not seen by the pump
	pumping  bool
	closed   bool

	queued                        atomic.Uint64 // that the pump has
	delivered, coalesced, dropped atomic.Uint64 // in all
}

func (s *shard) send(event news) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if !s.pumping {
		if !event.told() {
			return
		}
		select {
		case s.ch <- event.Event:
			return
		default:
			s.pumping = true
			go s.pump()
		}
	}
	s.incoming = append(s.incoming, event)
	if len(s.incoming) >= shardFold {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// close lets no more events in. Without a pump the channel ends here, else in the pump.
func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.pumping {
		s.end()
	}
}

func (s *shard) end() {
	close(s.ch)
	close(s.done)
}

// pump delivers what waits and ends when nothing does.
func (s *shard) pump() {
	var waiting backlog[news]
	var spare []news
	for {
		s.mu.Lock()
		arrived := s.incoming
		s.incoming = spare[:0]
		if _, more := waiting.first(); !more && len(arrived) == 0 {
			s.pumping = false
			s.incoming = nil
			if s.closed {
				s.end()
			}
			s.mu.Unlock()
			return
		}
		s.queued.Store(uint64(waiting.live + len(arrived)))
		s.mu.Unlock()

		for _, event := range arrived {
			event.addTo(&waiting)
		}
		clear(arrived)
		spare = arrived
		s.queued.Store(uint64(waiting.live))
		s.coalesced.Add(waiting.coalesced)
		waiting.coalesced = 0
		if !s.deliver(&waiting) {
			s.dropped.Add(uint64(waiting.live))
			s.queued.Store(0)
			waiting = backlog[news]{}
		}
	}
}

// deliver sends until the backlog is empty or the pump is woken. It reports false when
// it must give up.
func (s *shard) deliver(waiting *backlog[news]) bool {
	for {
		event, ok := waiting.first()
		if !ok {
			return true
		}
		select {
		case s.ch <- event.Event:
			waiting.pop()
			s.delivered.Add(1)
			s.queued.Store(uint64(waiting.live))
		case <-s.wake:
			return true
		case <-s.quit:
			return false
		}
	}
}
